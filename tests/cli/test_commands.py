import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from streamgmm import Checkpoint, GaussianMixture, __version__, load, select
from streamgmm.algorithms import ALGORITHMS
from streamgmm.cli.arguments import EXAMPLES
from streamgmm.data.sources.paths import FORMATS as ROW_FORMATS
from streamgmm.errors import ResultError
from streamgmm.images.reading import FORMATS as IMAGE_FORMATS
from streamgmm.initialization.find_starts import INIT_METHODS
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.information_criteria import CRITERIA
from streamgmm.persistence.session import CheckpointSession
from streamgmm.results.stored_array import check


@pytest.fixture(scope="module")
def stopped():
    """Run a command line in another process until a file exists, send a signal, and return exit code and errors."""
    program = [sys.executable, Path(__file__).with_name("forking.py")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def stop(command, number, folder, pattern, slowly=False):
            request = {"command": [str(word) for word in command], "errors": str(folder / "stderr"), "slowly": slowly}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            while not list(folder.glob(pattern)):
                os.kill(child, 0)  # ProcessLookupError if it has ended by itself
                time.sleep(0.02)
            os.kill(child, number)
            return int(process.stdout.readline()), (folder / "stderr").read_text()

        yield stop
        process.stdin.close()


def test_fit_saves_the_model_that_the_library_fits(run, source, tmp_path):
    options = ["--covariance", "diag", "--tol", "1e-4", "--max-iter", "50", "--n-init", "2"]
    options += ["--init", "random_from_data", "--split-merge"]
    code, _, _ = run("fit", source, "-k", 3, "-o", tmp_path / "m", *options, "--seed", 5, "--reg-covar", "1e-3")
    expected = GaussianMixture(
        3,
        covariance_type="diag",
        tol=1e-4,
        max_iter=50,
        n_init=2,
        init_params="random_from_data",
        split_merge=True,
        random_state=5,
        reg_covar=1e-3,
    ).fit(source)
    assert code == 0
    saved = load(tmp_path / "m")
    np.testing.assert_array_equal(saved.means_, expected.means_)
    np.testing.assert_array_equal(saved.covariances_, expected.covariances_)


def test_select_saves_the_librarys_choice_and_prints_every_candidate(run, source, tmp_path):
    picture = tmp_path / "curve.png"
    options = ["-k", "1:3", "--covariance", "spherical,diag", "--seed", 3, "--plot", picture]
    code, out, _ = run("select", source, *options, "-o", tmp_path / "m")
    expected = select(source, range(1, 4), ["spherical", "diag"], random_state=3)
    assert code == 0
    saved = load(tmp_path / "m")
    np.testing.assert_array_equal(saved.means_, expected.best.means_)
    assert (saved.n_components, saved.covariance_type) == (3, "spherical")
    header, *lines = out.splitlines()
    names = [criterion.name for criterion in CRITERIA.values() if not criterion.from_held_out]
    assert header.split()[: 2 + len(names)] == ["components", "covariance", *names]
    best = [line.split() for line in lines if line.endswith("best")]
    assert [line[:2] for line in best] == [["3", "spherical"]]
    assert best[0][2] == f"{expected.table['bic'].min():,.1f}"
    assert len(lines) == 6 + 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_select_by_held_out_rows_prints_their_scores(run, source, tmp_path):
    code, out, _ = run("select", source, "-k", "2,3", "--criterion", "heldout", "-o", tmp_path / "m")
    assert code == 0
    assert "heldout" in out.splitlines()[0]
    assert run("select", source, "-k", "2,3", "--quiet", "-o", tmp_path / "m") == (0, "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-k", "0:3"], "'0:3' is neither a range of integers of at least 1, such as 1:12, nor a list of them"),
        (["-k", "5:3"], "'5:3' is neither"),
        (["-k", "1,two"], "'1,two' is neither"),
        (["--covariance", "full,round"], "'full,round' is not a list of full, tied, diag and spherical"),
        (["--plot", "curve.jpg"], "'curve.jpg' does not end in .png"),
        (["--effective-n", "0.5"], "'0.5' is not a number of at least 1"),
    ],
)
def test_select_refuses_unusable_options_by_name(run, source, tmp_path, options, message):
    code, _, err = run("select", source, "-o", tmp_path / "m", *options)
    assert code == 2
    assert message in err


def test_select_uses_the_effective_number_of_rows(run, source, tmp_path):
    options = ["-k", "1:4", "--effective-n", 10, "-o", tmp_path / "m"]
    assert run("select", source, *options)[0] == 0
    expected = select(source, range(1, 5), effective_n=10, random_state=0).best.n_components
    assert load(tmp_path / "m").n_components == expected < 3


def test_an_interrupted_select_resumes_with_the_same_command(run, source, tmp_path, monkeypatch):
    watch, seen, folder = CheckpointSession.watch, [], tmp_path / "choice.ckpt"

    def watched(guard, fit_state):
        seen.append(fit_state)
        watch(guard, fit_state)
        if len(seen) == 6:
            raise KeyboardInterrupt

    command = ["select", source, "-k", "1:4", "--covariance", "full,diag", "--init", "kmeans"]
    command += ["-o", tmp_path / "m", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointSession, "watch", watched)
        code, _, err = run(*command)
        assert (code, err) == (130, "streamgmm: interrupted; with --checkpoint the same command would resume\n")
        seen.clear()
        code, _, err = run(*command, "--checkpoint", folder)
    assert code == 130
    message, _, remainder = err.partition(" from generation ")
    number, _, position = remainder.split(" ", 2)
    assert message == "streamgmm: interrupted; the same selection goes on"
    assert position.startswith(f"{folder} (in pass ")
    assert not (tmp_path / "m").exists()
    code, out, _ = run("info", folder)
    assert code == 0
    first, generation, position, *_, settings = out.splitlines()
    assert first == f"{folder}: a selection by bic among 1, 2, 3, 4 components (full, diag)"
    assert generation.startswith(f"generation {number}: valid") and "a selection, in pass " in position
    assert "max_iter=100" in settings
    assert run(*command, "--checkpoint", folder, "--resume", "must") == (0, "", "")
    assert "a selection, ended" in run("info", folder)[1]
    expected = select(source, range(1, 5), ["full", "diag"], init_params="kmeans", random_state=0).best
    np.testing.assert_array_equal(load(tmp_path / "m").means_, expected.means_)


def test_select_fails_before_the_work_if_a_picture_needs_matplotlib(run, source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    code, _, err = run("select", source, "-o", tmp_path / "m", "--plot", tmp_path / "curve.png")
    assert (code, err) == (
        1,
        "streamgmm: error: Drawing needs matplotlib; install it with: pip install 'streamgmm[demo]'\n",
    )
    assert not (tmp_path / "m").exists()


def test_info_prints_the_restarts_of_a_fit(run, source, tmp_path):
    assert run("fit", source, "-k", 4, "-o", tmp_path / "m")[0] == 0
    assert f"start: {load(tmp_path / 'm').restarts_}" in run("info", tmp_path / "m")[1]


def test_update_learns_the_new_rows_of_a_grown_array_and_saves_the_model(run, source, rows, tmp_path):
    model = tmp_path / "m"
    assert run("fit", source, "-k", 3, "--algorithm", "incremental", "-o", model)[0] == 0
    zarr.open_array(source).append(rows[:300])
    code, out, _ = run("update", model, source)
    assert code == 0
    assert "300 rows learnt" in out and "5,300 rows seen" in out
    assert load(model).n_samples_seen_ == 5300
    assert "no rows that were not learnt" in run("update", model, source, "-o", tmp_path / "other")[1]
    assert load(tmp_path / "other").n_samples_seen_ == 5300
    assert "bound over 5,300 rows" in run("info", model)[1]
    code, _, err = run("update", model, source, "--token", "x")
    assert code == 1
    assert err.startswith("streamgmm: error: --token names rows that are all new")


def test_update_learns_other_files_once_per_token(run, model, rows, tmp_path):
    np.save(tmp_path / "monday.npy", rows[:100])
    for expected in ("100 rows learnt", "were learnt before"):
        assert expected in run("update", model, tmp_path / "monday.npy")[1]
        assert load(model).n_samples_seen_ == 5100
    assert "100 rows learnt" in run("update", model, tmp_path / "monday.npy", "--token", "again")[1]
    assert run("update", model, tmp_path / "monday.npy", "--quiet") == (0, "", "")
    assert load(model).n_samples_seen_ == 5200


def test_a_file_of_a_fit_with_a_checkpoint_is_updated(run, source, rows, tmp_path):
    model, folder = tmp_path / "m", tmp_path / "checkpoint"
    assert run("fit", source, "-k", 3, "--checkpoint", folder, "-o", model)[0] == 0
    np.save(tmp_path / "monday.npy", rows[:100])
    assert "100 rows learnt" in run("update", model, tmp_path / "monday.npy")[1]
    assert load(model).n_samples_seen_ == load(folder).n_samples_seen_ + 100


def test_a_failed_update_leaves_the_model_unchanged(run, model, tmp_path):
    before = model.read_bytes()
    np.save(tmp_path / "bad.npy", np.full((10, 3), np.nan))
    code, out, err = run("update", model, tmp_path / "bad.npy")
    assert (code, out) == (1, "")
    assert err.startswith("streamgmm: error: ") and err.count("\n") == 1
    assert model.read_bytes() == before


def test_a_model_never_replaces_its_input_or_a_folder(run, model, rows, tmp_path):
    np.save(tmp_path / "x.npy", rows)
    before = (tmp_path / "x.npy").read_bytes()
    for command in (("fit", tmp_path / "x.npy", "-k", 2), ("update", model, tmp_path / "x.npy")):
        code, _, err = run(*command, "-o", tmp_path / "x.npy")
        assert (code, (tmp_path / "x.npy").read_bytes()) == (1, before)
        assert "is the input" in err
        assert "Is a directory" in run(*command, "-o", tmp_path)[2]
    link = tmp_path / "link"
    link.symlink_to(model)
    assert run("update", link, tmp_path / "x.npy", "--quiet")[0] == 0
    assert link.is_symlink() and load(model).n_samples_seen_ == 10_000


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"streamgmm {__version__}\n", "")


def test_a_model_with_too_few_rows_is_saved_described_and_updated(run, rows, tmp_path):
    model = tmp_path / "m"
    GaussianMixture(3, random_state=0).partial_fit(rows[:10]).save(model)
    assert "not fitted yet; 10 rows wait" in run("info", model)[1]
    np.save(tmp_path / "a.npy", rows[10:30])
    assert "not fitted yet; 30 rows wait" in run("update", model, tmp_path / "a.npy")[1]
    code, _, err = run("predict", model, tmp_path / "a.npy", "-o", tmp_path / "labels.npy")
    assert code == 1
    assert "30 of the" in err and err.count("\n") == 1
    np.save(tmp_path / "b.npy", rows[30:])
    assert "5,000 rows seen" in run("update", model, tmp_path / "b.npy")[1]


def test_fit_prints_a_summary_and_quiet_prints_nothing(run, source, tmp_path):
    _, out, err = run("fit", source, "-k", 3, "-o", tmp_path / "m")
    assert "3 components (full) of 3 features, 5,000 rows seen, converged" in out
    assert "pass 1: 5,000 rows read, log-likelihood" in err
    assert run("fit", source, "-k", 3, "-o", tmp_path / "m", "--quiet") == (0, "", "")


def test_a_fit_that_does_not_converge_is_saved_and_warns_in_one_line(run, source, tmp_path):
    code, _, err = run("fit", source, "-k", 3, "-o", tmp_path / "m", "--max-iter", 1, "--quiet")
    assert code == 0
    assert load(tmp_path / "m").n_iter_ == 1
    assert err.startswith("streamgmm: warning: Best performing initialization did not converge.")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "verb", "dtype"),
    [([], "predict", np.uint8), (["--proba"], "predict_proba", np.float32), (["--log-density"], "score_samples", "f4")],
)
@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
@pytest.mark.parametrize("mapped", [False, True])
def test_predict_writes_predictions(run, rows, source, model, tmp_path, option, verb, dtype, suffix, mapped):
    if mapped:
        source = tmp_path / "rows.npy"
        np.save(source, rows)
    out = tmp_path / f"result{suffix}"
    code, out_text, _ = run("predict", model, source, "-o", out, *option)
    written = np.load(out) if suffix == ".npy" else zarr.open_array(out, mode="r")[:]
    np.testing.assert_array_equal(written, getattr(load(model), verb)(rows))
    assert (code, written.dtype) == (0, dtype)
    assert f"of 5,000 rows, {np.dtype(dtype)}" in out_text
    assert not list(tmp_path.glob("*.partial"))


def test_predict_of_rows_with_other_features_leaves_no_file(run, model, tmp_path):
    np.save(tmp_path / "narrow.npy", np.zeros((10, 2)))
    code, out, err = run("predict", model, tmp_path / "narrow.npy", "-o", tmp_path / "labels.zarr")
    assert (code, out) == (1, "")
    assert "X has 2 features, but GaussianMixture is expecting 3 features" in err
    assert not list(tmp_path.glob("labels*"))


@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_a_predict_that_fails_half_way_leaves_no_file(run, rows, model, tmp_path, suffix):
    rows[-1, 1] = np.nan
    np.save(tmp_path / "bad.npy", rows)
    code, _, err = run("predict", model, tmp_path / "bad.npy", "-o", tmp_path / f"labels{suffix}")
    assert code == 1
    assert "NaN" in err
    assert "row 4999" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("labels*"))


@pytest.fixture
def partial(run, model, source, tmp_path, monkeypatch):
    """Partial result of a killed predict: five chunks of eight are written, one of them torn."""
    monkeypatch.setattr("streamgmm.data.sources.storage.TASK_BYTES", 700 * 3 * 4)
    out = tmp_path / "labels.zarr"
    assert run("predict", model, source, "-o", out)[0] == 0
    for number in (0, 3, 7):
        (out / "c" / str(number)).unlink()
    (out / "c" / "5").write_bytes((out / "c" / "5").read_bytes()[:-1])
    return out.rename(tmp_path / "labels.zarr.partial")


def test_predict_resumes_a_partial_result_and_reports_it(run, model, source, rows, partial):
    out = partial.with_name("labels.zarr")
    code, out_text, err = run("predict", model, source, "-o", out)
    assert (code, out_text, err) == (0, f"{out}: labels of 5,000 rows, uint8; 2,800 of them were there already\n", "")
    np.testing.assert_array_equal(zarr.open_array(out, mode="r")[:], load(model).predict(rows))
    assert not partial.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["--proba"], "labels, not responsibilities"),
        (["model"], "another model"),
        (["rows"], "other rows: other values"),
    ],
)
def test_predict_never_resumes_a_result_of_another_kind_model_or_rows(
    run, model, source, rows, partial, change, reason
):
    out = partial.with_name("labels.zarr")
    if change == ["model"]:
        assert run("fit", source, "-k", 2, "-o", model)[0] == 0
    if change == ["rows"]:
        zarr.open_array(source)[0] += 1
    code, out_text, err = run("predict", model, source, "-o", out, *[part for part in change if part.startswith("-")])
    assert code == 0
    assert "already" not in out_text
    assert err.startswith(f"streamgmm: warning: {partial} is replaced, not resumed: it is of {reason}")
    assert err.count("\n") == 1
    expected = load(model).predict_proba if change == ["--proba"] else load(model).predict
    np.testing.assert_array_equal(zarr.open_array(out, mode="r")[:], expected(zarr.open_array(source)[:]))


def test_info_of_a_result_names_its_model_and_its_missing_chunks(run, model, source, partial):
    digest = next(line for line in run("info", model)[1].splitlines() if line.startswith("digest: "))
    code, out_text, err = run("info", partial)
    assert code == 1
    assert out_text.splitlines() == [
        f"{partial}: labels, shape (5000,), uint8",
        f"model: {digest.replace(':', '')}, streamgmm {__version__}",
        "chunks: 5 of 8 written, 1 of them damaged",
    ]
    assert (
        f"{partial} is not whole: chunk c/0 (rows 0-699) is missing, chunk c/3 (rows 2100-2799) is missing, chunk "
        in err
    )
    assert "c/5 (rows 3500-4199) is damaged and 1 more are; run the same prediction again" in err
    assert err.count("\n") == 1
    out = partial.with_name("labels.zarr")
    run("predict", model, source, "-o", out)
    code, out_text, err = run("info", out)
    assert (code, err) == (0, "")
    assert "chunks: 8 of 8 written, 0 of them damaged" in out_text
    code, out_text, err = run("info", source)
    assert (code, out_text) == (1, "")
    assert "is no result of streamgmm" in err


def test_predict_replaces_a_file_only_with_overwrite(run, rows, source, model, tmp_path):
    out = tmp_path / "labels.zarr"
    assert run("predict", model, source, "-o", out)[0] == 0
    code, _, err = run("predict", model, source, "-o", out, "--proba")
    assert code == 1
    assert f"{out}: it exists; choose another name, or pass --overwrite" in err
    assert zarr.open_array(out, mode="r").shape == (5_000,)
    assert run("predict", model, source, "-o", out, "--proba", "--overwrite")[0] == 0
    assert zarr.open_array(out, mode="r").shape == (5_000, 3)


def test_predict_never_replaces_its_input(run, rows, source, model):
    code, _, err = run("predict", model, source, "-o", source, "--overwrite")
    assert code == 1
    assert "is the input" in err
    np.testing.assert_array_equal(zarr.open_array(source, mode="r")[:], rows)


def test_info_shows_settings_criteria_and_parameters_by_falling_weight(run, model):
    code, out, _ = run("info", model)
    fitted = load(model)
    assert code == 0
    assert "5,000 rows seen" in out
    assert "n_components=3" in out
    assert f"BIC {fitted.criteria_['exact'].bic:.10g}" in out
    heaviest = int(np.argmax(fitted.weights_))
    header, weights, first, *_ = out.split("deviations\n")[1].splitlines()
    assert header.split()[:2] == ["component", str(heaviest)]
    assert weights.split()[1] == f"{fitted.weights_[heaviest]:.2%}"
    deviation = fitted.covariances_[heaviest, 0, 0] ** 0.5
    assert f"{fitted.means_[heaviest, 0]:.4g} ± {deviation:.3g}" in first


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_info_shows_the_deviations_of_every_covariance_type(run, source, tmp_path, covariance):
    run("fit", source, "-k", 3, "-o", tmp_path / "m", "--covariance", covariance, "--quiet")
    _, out, _ = run("info", tmp_path / "m")
    assert out.count(" ± 1") + out.count(" ± 0.9") == 9  # three components of unit variance in three features


@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
def test_info_describes_a_fit_by_every_algorithm(run, source, tmp_path, algorithm):
    assert run("fit", source, "-k", 3, "-o", tmp_path / "m", "--algorithm", algorithm, "--quiet")[0] == 0
    code, out, _ = run("info", tmp_path / "m")
    assert code == 0
    assert "3 features" in out and load(tmp_path / "m").algorithm == algorithm


def test_info_breaks_wide_tables_into_blocks(run, model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = run("info", model)
    table = out.split("deviations\n")[1]
    assert max(len(line) for line in table.splitlines()) <= 40
    assert table.count("component") == 3
    assert table.count("feature 2") == 3


def test_info_prints_feature_names(run, rows, tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(rows, columns=["red", "green", "blue"]).to_parquet(tmp_path / "rows.parquet")
    assert run("fit", tmp_path / "rows.parquet", "-k", 2, "-o", tmp_path / "m", "--quiet")[0] == 0
    assert "\ngreen " in run("info", tmp_path / "m")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere.zarr", "-k", "2", "-o", "m"], "nowhere.zarr"),
        (["fit", "rows.txt", "-k", "2", "-o", "m"], "suffix"),
        (["fit", "rows.zarr", "-k", "2", "-o", "nowhere/m"], "nowhere: No such file or directory"),
        (["fit", "rows.zarr", "-k", "5001", "-o", "m"], "n_components = 5001"),
        (["info", "nowhere.gmm"], "nowhere.gmm"),
        (["info", "rows.txt"], "rows.txt is not a model"),
        (["predict", "rows.txt", "rows.zarr", "-o", "labels.zarr"], "rows.txt is not a model"),
    ],
)
def test_unusable_input_is_reported_in_one_line(run, source, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.txt").write_text("this is no model, nor is it rows")
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("streamgmm: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["fit", "rows.zarr", "-o", "m"],
        ["fit", "rows.zarr", "-k", "0", "-o", "m"],
        ["fit", "rows.zarr", "-k", "2", "-o", "m", "--tol", "-1"],
        ["fit", "rows.zarr", "-k", "2", "-o", "m", "--reg-covar", "nan"],
        ["fit", "rows.zarr", "-k", "2", "-o", "m", "--seed", "4294967296"],
        ["fit", "rows.zarr", "-k", "2", "-o", "m", "--covariance", "banana"],
        ["predict", "m", "rows.zarr", "-o", "labels.txt"],
        ["predict", "m", "rows.zarr", "-o", "labels.zarr", "--proba", "--log-density"],
    ],
)
def test_a_usage_error_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: streamgmm")


@pytest.mark.parametrize("verb", [name for name in EXAMPLES if name])
def test_help_of_each_verb_ends_with_examples(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"\nexamples:\n  streamgmm {verb}" in out
    assert f"  streamgmm {verb}" in run("--help")[1]


def test_help_lists_every_covariance_type_algorithm_criterion_and_format(run):
    fit, select, segment = (run(verb, "--help")[1] for verb in ("fit", "select", "segment"))
    for text, names in [
        (fit, [*STRUCTURES, "auto", *ALGORITHMS, *ROW_FORMATS]),
        (select, [*STRUCTURES, *CRITERIA]),
        (segment, [*STRUCTURES, *IMAGE_FORMATS]),
    ]:
        assert [name for name in names if name not in text] == []


@pytest.mark.parametrize(
    ("option", "known"), [("--covariance", STRUCTURES), ("--algorithm", ALGORITHMS), ("--init", INIT_METHODS)]
)
def test_an_unknown_name_is_refused_with_the_known_ones(run, option, known):
    code, _, err = run("fit", "rows.zarr", "-k", 2, "-o", "m", option, "unknown")
    assert code == 2
    assert all(name in err for name in known)


def test_help_loads_neither_numba_nor_dask_nor_matplotlib():
    code = "import sys; from streamgmm.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n" + (
        "sys.exit(' '.join({'numba', 'dask', 'zarr', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_as_a_module_a_missing_file_is_an_exit_code_and_one_line(tmp_path):
    command = [sys.executable, "-m", "streamgmm", "info", tmp_path / "none"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith(f"streamgmm: error: {tmp_path}/none")
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_predict_leaves_no_complete_result(stopped, model, tmp_path, number, code):
    # 4 GB of rows that take no room on disk: nobody labels them before the signal comes
    rows, out = tmp_path / "endless.zarr", tmp_path / "labels.zarr"
    zarr.create_array(rows, shape=(400_000_000, 3), chunks=(100_000, 3), dtype=np.float32)
    ended, err = stopped(["predict", model, rows, "-o", out], number, tmp_path, "labels.zarr.partial/c/*")
    assert ended == code, err
    assert not out.exists()
    if number == signal.SIGINT:
        assert err == f"streamgmm: interrupted; run the same again: it goes on from {out}.partial\n"
    assert check_fails(tmp_path / "labels.zarr.partial")


def check_fails(path):
    with pytest.raises(ResultError, match=r"is missing and [\d,]+ more are; run the same prediction again"):
        check(path)
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_fit_resumes_with_the_same_command(stopped, run, tmp_path):
    rows = np.random.default_rng(0).normal(size=(20_000, 4))
    np.save(tmp_path / "rows.npy", rows)
    command = ["fit", tmp_path / "rows.npy", "-k", 3, "--tol", 0, "--algorithm", "batch", "--max-iter", 120]
    command += ["--checkpoint", tmp_path / "fit.ckpt", "-o", tmp_path / "m", "--quiet"]
    ended, err = stopped(command, signal.SIGINT, tmp_path, "fit.ckpt/gen-*", slowly=True)
    assert ended == 130, err
    assert "interrupted; the same fit goes on from generation" in err
    assert not (tmp_path / "m").exists()
    code, out, _ = run("info", tmp_path / "fit.ckpt")
    assert code == 0
    assert "generation 2: valid" in out and "a fit, " in out
    assert run(*command)[0] == 0
    plain = [word for word in command if word not in ("--checkpoint", tmp_path / "fit.ckpt")]
    assert run(*plain[:-2], tmp_path / "plain", "--quiet")[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "m").means_, load(tmp_path / "plain").means_)
    assert "a fit that has ended" in run("info", tmp_path / "fit.ckpt")[1]


def test_info_distinguishes_valid_and_damaged_generations(run, tmp_path):
    folder = tmp_path / "stream.ckpt"
    model = GaussianMixture(1, checkpoint=Checkpoint(folder, batches=1))
    for number in range(4):
        model.partial_fit(np.arange(40.0).reshape(20, 2), token=f"day {number}")
    newest = sorted(folder.glob("gen-*"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    code, out, err = run("info", folder)
    assert code == 0
    assert "generation 4: not valid" in out
    assert "generation 3: valid" in out
    assert "the latest token whose rows it holds is 'day 2'" in out
    assert "older one" in err


def test_a_checkpoint_of_another_fit_is_refused_in_one_line(run, source, tmp_path):
    folder = tmp_path / "fit.ckpt"
    assert run("fit", source, "-k", 2, "--checkpoint", folder, "-o", tmp_path / "m", "--quiet")[0] == 0
    code, _, err = run("fit", source, "-k", 3, "--checkpoint", folder, "-o", tmp_path / "m", "--quiet")
    assert code == 1
    assert "n_components=2, not 3" in err and err.count("\n") == 1
    anew = ["--checkpoint", folder, "--resume", "never", "-o", tmp_path / "m", "--quiet"]
    assert run("fit", source, "-k", 3, *anew)[0] == 0
