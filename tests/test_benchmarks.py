"""Every benchmark runs, at toy size. What it measures is not judged here."""

import inspect
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # last, so that an installed streamgmm is the one that is tested

from benchmarks import latency, memory, outofcore, peers, stored, suite, timing  # noqa: E402
from benchmarks.adapters import PEERS, Peer, difference, streamgmm  # noqa: E402
from benchmarks.workloads import FAMILIES, Start, mixture  # noqa: E402

KINDS = ("time_", "timeraw_", "peakmem_", "track_")


def methods(owner):
    return [name for name in vars(owner) if name.startswith(KINDS)]


SUITES = [owner for _, owner in inspect.getmembers(suite, inspect.isclass) if methods(owner)]
BENCHMARKS = [
    pytest.param(owner, arguments, id=f"{owner.__name__}-{'-'.join(map(str, arguments))}")
    for owner in SUITES
    for arguments in itertools.product(*getattr(owner, "toy", ()))
]


@pytest.fixture
def empty_temp(tmp_path, monkeypatch):
    """The folder in which temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def printed_rows(capsys):
    """Cells of the table that was printed, by column name."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


# ---------------------------------------------------------------------- the asv suite


@pytest.mark.parametrize(("owner", "arguments"), BENCHMARKS)
def test_every_benchmark_of_the_suite_runs_and_leaves_no_file(owner, arguments, empty_temp):
    benchmark = owner()
    benchmark.setup(*arguments)
    results = {name: getattr(benchmark, name)(*arguments) for name in methods(owner)}
    getattr(benchmark, "teardown", lambda *_: None)(*arguments)
    for name, result in results.items():
        if name.startswith("track_"):
            assert np.isfinite(result)
        elif name.startswith("timeraw_"):
            compile(result, name, "exec")
    assert not list(empty_temp.iterdir())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tracked_difference_from_scikit_learn_is_rounding(family):
    benchmark = suite.Fit()
    benchmark.setup(family, (300, 3, 2))
    assert benchmark.track_difference_from_scikit_learn(family, (300, 3, 2)) < 1e-10


def test_toy_sizes_have_the_shape_of_the_real_ones():
    for owner in SUITES:
        assert len(getattr(owner, "toy", ())) == len(getattr(owner, "params", ())), owner


def test_asv_finds_the_suite_and_has_no_complaint(tmp_path):
    pytest.importorskip("asv")
    folder = ROOT / "benchmarks"
    configuration = json.loads((folder / "asv.conf.json").read_text())
    for name in ("repo", "benchmark_dir"):
        configuration[name] = str((folder / configuration[name]).resolve())
    for name in ("env_dir", "results_dir", "html_dir"):
        configuration[name] = str(tmp_path / name)
    (tmp_path / "asv.conf.json").write_text(json.dumps(configuration))
    command = [sys.executable, "-m", "asv", "check", "--config", str(tmp_path / "asv.conf.json"), "-E", "existing"]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "No problems found" in finished.stdout


# ---------------------------------------------------------------------- peers


@pytest.mark.parametrize(
    ("peer", "family"),
    [pytest.param(peer, family, id=f"{peer.name}-{family}") for peer in PEERS for family in peer.families],
)
@pytest.mark.filterwarnings("ignore")  # other libraries' own
def test_every_installed_peer_runs_the_same_iterations_as_we_do(peer, family):
    if reason := peer.missing():
        pytest.skip(reason)
    rows = mixture(900, 3, 2)
    start = Start.found(rows, 2, family)
    found = peer.fit(peer.converted(rows), start, 3)
    if found is not None:  # None: it cannot be given the whole start
        tolerance = 1e-10 if peer.name == "scikit-learn" else 1e-4  # the others: in float32, or without reg_covar
        assert difference(found, streamgmm(rows, start, 3)) < tolerance
        assert difference(found, streamgmm(rows, start, 2)) > tolerance


def test_peers_prints_a_row_for_every_comparison_and_ours_agrees_with_scikit_learn(capsys):
    peers.main(["--toy", "--rows", "1", "2", "4", "--families", "full", "diag", "--peers", "scikit-learn"])
    rows = printed_rows(capsys)
    assert [(row["rows"], row["peer"]) for row in rows if row["family"] == "diag"] == [
        *([("float64", "scikit-learn"), ("float32", "ours, float64"), ("float32", "scikit-learn")] * 2),
        ("uint8", "ours, shuffled"),
        ("uint8", "scikit-learn"),
    ]
    for row in rows:
        assert float(row["ours differs"]) < (1e-4 if row["rows"] == "float32" else 1e-10)


def test_a_peer_that_is_not_installed_is_named_with_the_reason(capsys, monkeypatch):
    absent = Peer("absent", "no_such_library", lambda *_: None)
    monkeypatch.setattr(peers, "PEERS", (absent,))
    peers.main(["--toy", "--rows", "1"])
    assert "absent is left out: No module named 'no_such_library'" in capsys.readouterr().out


def test_a_peer_that_fails_gets_a_row_that_says_so(capsys, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(peers, "PEERS", (Peer("greedy", "math", fail),))
    peers.main(["--toy", "--rows", "1", "--dtypes", "float64"])
    (row,) = printed_rows(capsys)
    assert (row["peer"], row["theirs s"], row["times faster"]) == ("greedy", "MemoryError", "failed")


# ---------------------------------------------------------------------- the other programs


def test_latency_prints_a_row_for_each_thing_that_one_waits_for(capsys, empty_temp):
    latency.main(["--toy"])
    rows = printed_rows(capsys)
    assert len(rows) == 4
    assert all(float(row["ours ms"]) > 0 for row in rows)
    assert not list(empty_temp.iterdir())


def test_memory_fits_in_a_process_of_its_own_and_deletes_what_it_wrote(capsys, empty_temp):
    assert memory.main(["--toy"]) == 0
    (row,) = printed_rows(capsys)
    assert row["rows"] == "16,667"
    assert 0 < float(row["peak GB"]) < 1
    assert row["limit"] == "1 kept"
    assert not list(empty_temp.iterdir())


def test_memory_fails_above_the_limit(capsys):
    assert memory.main(["--gigabytes", "0.0005", "--limit", "0.01"]) == 1
    assert "EXCEEDED" in capsys.readouterr().out


def test_outofcore_prints_a_row_for_each_number_of_components(capsys, empty_temp):
    outofcore.main(["--toy", "--components", "2", "3"])
    assert [row["workload"] for row in printed_rows(capsys)] == ["16,667 x 15, k = 2", "16,667 x 15, k = 3"]
    assert not list(empty_temp.iterdir())


def test_stored_rows_are_as_many_as_asked_for_and_no_chunk_is_like_another(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK_ROWS", 64)
    assert stored.write_rows(tmp_path / "rows.zarr", 150 * 60 / stored.GIGABYTE) == 150
    array = zarr.open_array(tmp_path / "rows.zarr", mode="r")
    assert (array.shape, array.chunks, array.dtype) == ((150, 15), (64, 15), np.float32)
    assert not np.array_equal(array[:64], array[64:128])
    assert len(np.unique(array[128:], axis=0)) == 22


def test_ours_and_theirs_are_measured_in_turn():
    calls = []
    pair = timing.Rounds(least=3, most=3).side_by_side(
        lambda: calls.append("ours") or [9.0, 1.0, 2.0][len(calls) // 2], lambda: calls.append("theirs") or 6.0
    )
    assert calls == ["ours", "theirs"] * 3
    assert (pair.ours, pair.theirs, pair.speedup) == (2.0, 6.0, 3.0)


def test_what_a_fit_does_once_is_no_part_of_an_iteration(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])

    def fit(n_iterations):
        clock[0] += 7.0 + 2.0 * n_iterations

    assert timing.per_iteration(fit)() == 2.0


def test_a_verdict_says_the_bar_and_whether_it_is_reached():
    assert timing.verdict(3.0, 2.5, at_least=True) == "≥ 2.5 yes"
    assert timing.verdict(1.2, 1.15, at_least=False) == "≤ 1.15 NO"
    assert timing.verdict(1.2, None, at_least=True) == ""
