"""Every benchmark runs, at toy size. What it measures is not judged here."""

import inspect
import itertools
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.mixture
import zarr

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # last, so that an installed streamgmm is the one that is tested

from benchmarks import (
    checkpoints,
    datasets,
    latency,
    maps,
    memory,
    onepass,
    online,
    outofcore,
    peers,
    segmentation,
    selection,
    starts,
    stored,
    suite,
    timing,
)
from benchmarks.adapters import PEERS, Peer, difference, streamgmm
from benchmarks.datasets import data_sets
from benchmarks.onepass import Outcome, Workload
from benchmarks.shipped_images import NotShippedError
from benchmarks.starts import Ascents, Climb, Fitted
from benchmarks.workloads import FAMILIES, Population, Start, in_regions, mixture, ragged
from streamgmm import GaussianMixture
from streamgmm.errors import OrderWarning

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


def test_segmentation_prints_a_row_for_each_image_and_deletes_what_it_wrote(capsys, empty_temp):
    assert segmentation.main(["--toy", "--only", "sizes"]) == 0
    rows = [row.split("|")[1].strip() for row in capsys.readouterr().out.splitlines()[-3:]]
    assert rows == ["0.1 MP", "0.1 MP, noise", "0.1 MP, noise, 4 bands"]
    assert not list(empty_temp.iterdir())


def test_segmentation_compares_maps_of_what_is_installed_and_says_what_is_not(capsys, monkeypatch):
    def missing():
        raise NotShippedError("seen.tif is shipped by unseen")

    found = [name for name, read in maps.IMAGES.items() if _is_there(read)]
    monkeypatch.setitem(maps.IMAGES, "unseen", missing)
    assert segmentation.main(["--toy", "--only", "maps", "--tol", "1e-2"]) == 0
    out = capsys.readouterr().out
    assert "unseen: seen.tif is shipped by unseen" in out
    lines = [line.split("|") for line in out.splitlines() if line.startswith("| ")][2:]
    assert [line[1].strip() for line in lines] == found
    assert all(50 < float(line[5].strip(" %")) <= 100 and float(line[6].strip(" %")) > 50 for line in lines)


def _is_there(read):
    try:
        return read() is not None
    except (NotShippedError, ImportError):
        return False


def test_a_photograph_has_the_same_colours_at_every_size_and_more_of_them_with_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "CHUNK", 128)
    photograph = segmentation.load_sample_image("china.jpg")
    colours = {tuple(pixel) for pixel in photograph.reshape(-1, 3).tolist()}
    means = []
    for megapixels, noise in ((0.05, 0), (0.2, 0), (0.2, 1)):
        path = tmp_path / f"{megapixels}-{noise}.zarr"
        n_pixels = segmentation.write_image(path, megapixels, noise)
        pixels = zarr.open_array(path, mode="r")[:].reshape(-1, 3)
        assert len(pixels) == n_pixels == pytest.approx(1e6 * megapixels, rel=0.01)
        assert ({tuple(pixel) for pixel in pixels.tolist()} <= colours) == (noise == 0)
        means.append(pixels.mean(axis=0))
    np.testing.assert_allclose(means, [photograph.reshape(-1, 3).mean(axis=0)] * 3, atol=1.5)


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


# ---------------------------------------------------------------------- learning online


def test_quality_prints_a_row_for_each_layout_and_method_and_leaves_no_file(capsys, empty_temp):
    online.main(["--toy", "--only", "quality", "--seeds", "1", "--sizes", "2000", "--shapes", "2,2"])
    rows = printed_rows(capsys)
    assert [(row["layout"], row["method"]) for row in rows] == [
        *(("any", f"batch, {when}") for when in ("pass 3", "pass 6", "converged")),
        *itertools.product(["random", "image", "sorted"], ["stepwise", "incremental", "partial_fit"]),
    ]
    assert [row["passes"] for row in rows[:2]] == ["3", "6"]
    assert all(float(row["minimum"]) == float(row["median"]) == float(row["90 %"]) for row in rows)  # of one seed
    assert not list(empty_temp.iterdir())


def test_race_prints_that_batch_em_ends_where_scikit_learn_does(capsys, empty_temp):
    online.main(["--toy", "--only", "race"])
    theirs, *ours = printed_rows(capsys)
    assert [row["method"] for row in ours] == ["stepwise, 1 pass", "auto", "batch"]
    batch = ours[-1]
    assert (batch["passes"], batch["held out"]) == (theirs["passes"], theirs["held out"])
    assert abs(float(batch["difference"])) < 1e-9
    assert not list(empty_temp.iterdir())


def test_curve_draws_to_the_given_path_and_keeps_no_toy(capsys, empty_temp, monkeypatch):
    image = pytest.importorskip("matplotlib.image")
    monkeypatch.setattr(online, "PICTURE", empty_temp / "beside.png")
    online.main(["--toy", "--only", "curve"])
    rows = printed_rows(capsys)
    assert {row["method"] for row in rows} == {"start", "partial_fit", "incremental", "auto", "batch"}
    assert [row["rows read"] for row in rows if row["method"] == "batch"] == ["5,000", "10,000", "15,000"]
    assert all(float(row["difference"]) < 0 for row in rows)  # of so few rows a few passes are never enough
    assert not list(empty_temp.iterdir())
    curves = {row["method"]: [(int(row["rows read"].replace(",", "")), float(row["difference"]), 0.0)] for row in rows}
    online.draw(curves, "", empty_temp / "drawn.png")
    assert image.imread(empty_temp / "drawn.png").shape[:2] == (500, 1000)


def test_stream_prints_memory_and_time_of_a_call(capsys, empty_temp):
    online.main(["--toy", "--only", "stream"])
    growth, first, last, ratio, allocated = (float(row["value"].split()[0]) for row in printed_rows(capsys))
    assert ratio == pytest.approx(last / first, rel=0.01)
    assert max(abs(growth), abs(allocated)) < 2**20
    assert not list(empty_temp.iterdir())


def test_growth_is_what_memory_gains_in_a_call():
    looks = itertools.count(10**6, 1000)
    growth, times = online.followed(Workload(20, 2, 2), 200, 2, lambda: next(looks))
    assert growth == pytest.approx(500.0)  # 1000 a look, which is every second call
    assert times.shape == (200,)
    assert (times > 0).all()


def outcomes(*differences, warned=False):
    return [Outcome(difference, 0.0, warned) for difference in differences]


@pytest.mark.parametrize("layout", ["random", "image"])
def test_a_pass_is_good_that_loses_little_or_no_more_than_three_of_batch_em(layout):
    mine, thirds = outcomes(-0.9e-3, -1.1e-3, -5.0e-3, -5.0e-3, 1.0), outcomes(0.0, 0.0, -6.0e-3, -4.0e-3, 2.0)
    assert onepass.good_seeds(layout, "stepwise", mine, thirds, 1e-3) == 3


def test_a_pass_over_sorted_rows_is_good_that_is_not_far_off_and_says_so():
    for method, spoken, silent in (("stepwise", 1, 0), ("partial_fit", 1, 0), ("incremental", 1, 1)):
        mine = outcomes(-0.029, warned=True), outcomes(-0.029), outcomes(-0.031, warned=True)
        good = [onepass.good_seeds("sorted", method, one, outcomes(-0.01), 1e-3) for one in mine]
        assert good == [spoken, silent, 0]
        assert onepass.good_seeds("sorted", method, outcomes(-0.031, warned=True), outcomes(-0.04), 1e-3) == 1


def test_the_median_shall_reach_six_passes_of_batch_em_or_lose_little():
    assert onepass.least_median("image", outcomes(-9.0, -5e-3, 0.0), 1e-3) == -5e-3
    assert onepass.least_median("random", outcomes(-9.0, -5e-4, 0.0), 1e-3) == -1e-3
    assert onepass.least_median("sorted", outcomes(-9.0), 1e-3) is None


def test_the_table_compares_measurements_with_bars():
    workload = Workload(10**9, 2, 3)  # of so many that 2e-4 is allowed
    found = {
        ("any", onepass.THIRD): outcomes(-1e-3, -1e-3, -1e-3),
        ("any", onepass.SIXTH): outcomes(-5e-4, -5e-4, -5e-4),
        ("random", "stepwise"): outcomes(-1e-4, -6e-4, -2e-3),
        ("sorted", "stepwise"): outcomes(-1e-4, -6e-4, -2e-3, warned=True),
    }
    assert onepass.verdicts(workload, found, "random", "stepwise", True) == ["2", "≥ 3 NO", "≥ -0.0005 NO", "0"]
    assert onepass.verdicts(workload, found, "sorted", "stepwise", True) == ["3", "≥ 3 yes", "", "3"]
    assert onepass.verdicts(workload, found, "random", "stepwise", False) == ["2", "", "", "0"]


def test_more_is_allowed_where_a_row_must_tell_of_many_parameters():
    assert Workload(10**6, 2, 3).allowed == 2e-4
    assert Workload(10**3, 2, 3).allowed == pytest.approx(1.7e-3)  # 2 weights, 3 x 2 means, 3 x 3 covariances


def test_differences_are_paired():
    mine, theirs = np.array([1.0, 12.0, 101.0]), np.array([0.0, 10.0, 100.0])
    difference, error = onepass.paired(mine, theirs)
    assert (difference, error) == pytest.approx((4 / 3, 1 / 3))


def test_resumed_batch_em_equals_uninterrupted_batch_em():
    drawn = Workload(2000, 2, 3).drawn(0)
    found = onepass.batch_passes(drawn.rows, drawn.start, drawn.held_out)
    for name, most in ((onepass.THIRD, 3), (onepass.SIXTH, 6)):
        whole = GaussianMixture(**drawn.start.settings, algorithm="batch", tol=0.0, max_iter=most)
        onepass.observed(lambda whole=whole: whole.fit(drawn.rows))
        np.testing.assert_allclose(found[name], whole.score_samples(drawn.held_out), rtol=1e-12)
    whole = GaussianMixture(**drawn.start.settings, algorithm="batch", tol=1e-7, max_iter=onepass.MOST_PASSES)
    onepass.observed(lambda: whole.fit(drawn.rows))
    assert whole.n_iter_ == found["passes"]
    np.testing.assert_allclose(found[onepass.CONVERGED], whole.score_samples(drawn.held_out), rtol=1e-12)


def test_a_warning_of_order_is_noticed_and_others_are_passed_on():
    assert onepass.observed(lambda: 1) == (1, False)
    assert onepass.observed(lambda: warnings.warn("sorted", OrderWarning, stacklevel=1)) == (None, True)
    with pytest.warns(RuntimeWarning, match="overflow"), warnings.catch_warnings():
        warnings.simplefilter("always")
        onepass.observed(lambda: warnings.warn("overflow", RuntimeWarning, stacklevel=1))


def test_rows_in_regions_are_all_there_and_lie_beside_their_like():
    random = np.random.default_rng(0)
    labels = random.choice(4, size=20_000, p=[0.4, 0.3, 0.2, 0.1])
    order = in_regions(labels, random)
    assert np.array_equal(np.sort(order), np.arange(20_000))
    alike = [np.mean(labels[where][1:] == labels[where][:-1]) for where in (slice(None), order)]
    assert alike[0] < 0.32  # as chance has it: 0.3
    assert 0.5 < alike[1] < 0.9  # but not sorted
    sorts = [len(np.unique(part)) for part in np.array_split(labels[order], 100)]
    assert np.mean(sorts) > 2  # strays


def test_ragged_lengths_differ_and_cover_all_rows():
    lengths = ragged(1000, 50, np.random.default_rng(0))
    assert sum(lengths) == 1000
    assert min(lengths) >= 1
    assert max(lengths) <= 50
    assert len(set(lengths)) > 10


def test_components_are_as_far_apart_as_asked_for():
    random = np.random.default_rng(0)
    population = Population.overlapping(8, 200, 3.0, random)
    gaps = population.means[:100] - population.means[100:]
    assert np.sqrt(np.mean(np.sum(gaps**2, axis=1))) == pytest.approx(3.0, rel=0.1)
    covariances = population.factors @ population.factors.transpose(0, 2, 1)
    assert np.mean(np.trace(covariances, axis1=1, axis2=2)) == pytest.approx(8.0, rel=0.05)
    rows, labels = Population.overlapping(2, 3, 3.0, np.random.default_rng(1)).draw(5000, random)
    means = Population.overlapping(2, 3, 3.0, np.random.default_rng(1)).means
    np.testing.assert_allclose([rows[labels == j].mean(axis=0) for j in range(3)], means, atol=0.15)


# ---------------------------------------------------------------------- starts


@pytest.mark.parametrize("chosen", data_sets(200, 300), ids=lambda chosen: chosen.name)
def test_every_data_set_of_starts_depends_on_the_seed_alone_and_has_rows_enough(chosen):
    rows, held_out = chosen.drawn(3)
    assert rows.dtype == held_out.dtype == np.float64
    assert rows.shape[1] == held_out.shape[1]
    assert len(rows) <= 200
    assert len(held_out) <= 300
    assert len(rows) >= 10 * chosen.k
    np.testing.assert_array_equal(chosen.drawn(3)[0], rows)
    assert not np.array_equal(chosen.drawn(4)[0], rows)


def test_data_sets_of_starts_are_as_they_are_described():
    sets = {one.name: one.drawn for one in data_sets(20_000, 10)}
    assert len(sets) >= 13
    whole = np.concatenate(sets["breast cancer"](0))
    np.testing.assert_array_equal(np.sort(whole, axis=0), np.sort(datasets.breast_cancer(), axis=0))
    for name in ("china.jpg", "flower.jpg"):
        assert len(np.unique(sets[name](0)[0], axis=0)) == 20_000
    lengths = np.linalg.svd(datasets.crossing(np.random.default_rng(0)).factors, compute_uv=False)
    np.testing.assert_allclose(lengths, np.tile([4.0, 0.2], (4, 1)))
    labels = datasets.unequal(np.random.default_rng(0)).draw(20_000, np.random.default_rng(1))[1]
    np.testing.assert_allclose(np.bincount(labels) / 20_000, [0.60, 0.25, 0.10, 0.04, 0.01], atol=0.01)


def test_quality_of_starts_prints_a_row_for_each_data_set_and_one_for_all(capsys, empty_temp):
    starts.main(["--toy", "--only", "quality", "--seeds", "2", "--sets", "faithful", "unequal"])
    rows = printed_rows(capsys)
    assert [row["data set"] for row in rows] == ["faithful", "unequal", "all"]
    assert [row["rows"] for row in rows] == ["136 x 2", "300 x 3", ""]
    for column in ("at least theirs", "within 1e-4", "of its own rows", "collapsed", "theirs collapsed"):
        assert int(rows[2][column]) == int(rows[0][column]) + int(rows[1][column])
    assert float(rows[2]["worst"]) == min(float(row["worst"]) for row in rows)
    assert not list(empty_temp.iterdir())


def test_a_data_set_that_there_is_not_is_named(capsys):
    with pytest.raises(SystemExit):
        starts.main(["--toy", "--only", "quality", "--sets", "irises"])
    assert "no data set irises; there are iris, wine" in capsys.readouterr().err


def test_a_fit_that_has_collapsed_is_below_any_that_has_not():
    def outcome(held_out, collapsed):
        return Fitted(held_out + 1.0, held_out, 7, 1.0, collapsed)

    assert starts.lead(outcome(-2.0, False), outcome(-1.5, False)) == -0.5
    assert starts.lead(outcome(-2.0, True), outcome(-1.5, True), "trained") == -0.5
    assert starts.lead(outcome(9.0, True), outcome(-1.5, False)) == -np.inf
    assert starts.lead(outcome(-2.0, False), outcome(9.0, True)) == np.inf


def test_a_component_that_lies_on_few_rows_has_collapsed():
    rows = np.concatenate([np.random.default_rng(0).normal(size=(200, 2)), np.full((40, 2), 9.0)])
    found = [starts.fitted(GaussianMixture(k, reg_covar=1e-3, random_state=0), rows, rows, 1e-3) for k in (1, 2)]
    assert [one.collapsed for one in found] == [False, True]
    assert all(one.trained == one.held_out for one in found)


def test_starts_are_compared_by_the_share_of_good_seeds_and_the_worst():
    theirs = Fitted(0.0, 0.0, 10, 6.0, False)
    ours = [Fitted(-1.0, value, 5, 2.0, False) for value in [0.0] * 17 + [-1e-10, -5e-5, -2e-3]]
    good, bar, near, worst, bar_of_worst, middle, own, *rest = starts.compared([(one, theirs) for one in ours], True)
    assert (good, bar, near, worst, bar_of_worst) == ("18", "≥ 18 yes", "19", "-2.0e-03", "≥ -0.001 NO")
    assert (float(middle), own, rest) == (0.0, "0", ["5.0", "10.0", "0", "0", "3.00"])


def test_components_are_right_that_lie_one_by_one_on_the_means():
    means = starts.triangle()
    assert starts.right(means[[2, 0, 1]] + 0.3, means)
    assert not starts.right(means + np.array([[0.6, 0.0], [0.0, 0.0], [0.0, 0.0]]), means)
    assert not starts.right(np.concatenate([means, [[50.0, 50.0]]]), means)
    assert not starts.right(means[[0, 0, 1]], means)


def test_eight_means_have_neighbours_at_the_documented_distance():
    for means in (starts.ring(), starts.grid()):
        gaps = np.linalg.norm(means[:, None] - means, axis=2) + 1e9 * np.eye(8)
        np.testing.assert_allclose(gaps.min(axis=1), starts.APART)


def test_moves_prints_a_row_for_each_task(capsys, empty_temp):
    starts.main(["--toy", "--only", "moves"])
    rows = printed_rows(capsys)
    assert len(rows) == 8
    assert {row["right"] for row in rows} <= {"0%", "100%"}
    assert rows[-1] == {"what": "three, two misplaced", "right": "0%", "bar": ""}  # EM alone cannot leave
    assert not list(empty_temp.iterdir())


def climbing(*read, kept=None, parameters=None, settled=1):
    return Climb(np.array(read), np.array(read if kept is None else kept), parameters, settled)


def test_passes_are_counted_up_to_where_little_remains_of_the_higher_end():
    ascents = Ascents(climbing(-9.0, -5.0, -3.0, -2.0, -1.0), climbing(-9.0, -3.0, -7.0, -1.0, -0.9995))
    assert ascents.same
    assert ascents.passes(2.5) == (3, 2)
    assert ascents.passes(1e-4) == (5, 5)  # never is all of them
    above, below = climbing(0.0), climbing(-1.0)
    assert (Ascents(above, below).as_good, Ascents(below, above).as_good) == (False, True)
    assert not Ascents(below, above).same
    plain = climbing(-2.0, -1.0)
    assert not Ascents(plain, climbing(-2.0, -1.0, settled=1)).settled
    assert Ascents(plain, climbing(-2.0, -1.0, settled=2)).settled


def test_a_rejected_step_is_no_fall():
    assert climbing(-3.0, -2.0, -5.0, -1.0, kept=(-3.0, -2.0, -2.0, -1.0)).largest_fall == 0.0
    assert climbing(-3.0, -2.0, -2.5, -1.0).largest_fall == 0.5


def test_plain_and_accelerated_em_begin_alike_and_end_alike():
    ascents = Ascents.at_random(datasets.faithful(), 2, 0, 1e-6, 60)
    np.testing.assert_array_equal(ascents.plain.read[:2], ascents.accelerated.read[:2])
    assert len(ascents.plain.read) == len(ascents.accelerated.read) == 60
    assert ascents.same
    assert ascents.narrowest > 0.01
    whole = GaussianMixture(2, init_params="random_from_data", algorithm="batch", tol=0.0, max_iter=60, random_state=0)
    onepass.observed(lambda: whole.fit(datasets.faithful()))
    np.testing.assert_allclose(ascents.plain.read, whole.lower_bounds_, rtol=1e-12)


def test_acceleration_prints_where_em_is_slow_where_it_is_not_and_where_it_begins_anywhere(capsys):
    starts.slow(400, 12, False)
    assert [row["workload"] for row in printed_rows(capsys)] == [
        *["faithful, k = 3"] * 3,
        "faithful, k = 4",
        "400 x 4, k = 8, separation 2",
    ]
    starts.easy(300, 12, 2, False)
    assert all(0 < int(row["plain"]) <= 2 * 12 for row in printed_rows(capsys))
    starts.random_starts(300, 12, 1, False)
    rows = printed_rows(capsys)
    assert [row["workload"] for row in rows[:3]] == ["iris, k = 3", "wine, k = 3", "faithful, k = 3"]
    for column in ("collapsed", "above", "below"):
        assert int(rows[-1][column]) == sum(int(row[column]) for row in rows[:-1])


def test_cost_prints_seconds_and_how_often_a_chunk_is_read(capsys, empty_temp):
    starts.cost(2000, False)
    rows = printed_rows(capsys)
    assert [row["workload"] for row in rows] == ["2,000 x 3, k = 8", "2,000 x 8, k = 16"]
    assert all(float(row["initialization s"]) > 0 for row in rows)
    assert [(row["chunks"], row["most reads of one"]) for row in rows] == [("32", "1")] * 2
    assert not list(empty_temp.iterdir())


def test_the_initialization_computes_each_chunk_once():
    assert starts.reads(mixture(1000, 2, 3), 3, 7) == [1] * 7


# ---------------------------------------------------------------------- selection


def test_choice_prints_a_row_for_each_way_to_agree(capsys):
    selection.main(["--toy", "--only", "choice"])
    rows = printed_rows(capsys)
    assert [row["of the mixtures"] for row in rows][-2:] == ["the true number", "the true number, by the reference"]
    assert all(0.0 <= float(row["share"].removesuffix(" %")) <= 100.0 for row in rows)
    assert not any(row["bar"] for row in rows)


def test_choice_from_rows_that_come_by_once_prints_a_row_for_each_number_that_could_choose(capsys):
    selection.main(["--toy", "--only", "once"])
    rows = printed_rows(capsys)
    assert [row["chosen by"] for row in rows][:3] == ["evidence", "BIC of the bound", "prequential alone"]
    assert all(0.0 <= float(row["as the reference"].removesuffix(" %")) <= 100.0 for row in rows)


def test_cost_of_a_selection_prints_a_row_for_each_tolerance_of_scikit_learn(capsys):
    selection.main(["--toy", "--only", "cost"])
    rows = printed_rows(capsys)
    assert [float(row["tol"]) for row in rows] == [1e-3, selection.TOL]
    assert all(row["as likely or more"].endswith("of 3") and float(row["ratio"]) > 0.0 for row in rows)


def test_the_reference_of_a_choice_is_scikit_learns():
    rows = selection.puzzle(3, 200).rows
    ours, theirs = (
        selection.reference(rows, [1, 3], 2, 1, kind) for kind in (GaussianMixture, sklearn.mixture.GaussianMixture)
    )
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert selection.same(selection.chosen(ours), theirs)
    assert not selection.same(1, {1: 10.0, 2: 7.9})


def test_the_cost_of_a_checkpoint_is_measured_for_every_algorithm(capsys):
    checkpoints.main(["--toy", "--rows", "2000"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "k = " in line]
    assert len(lines) == 7
    for line in lines:
        share = line.split(" | ")[4]
        assert 0.0 < float(share.strip().rstrip("%")) < 100.0
