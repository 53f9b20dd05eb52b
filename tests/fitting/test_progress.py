import io
import os
import re
import sys
import types

import numpy as np
import pytest

from streamgmm import GaussianMixture, select
from streamgmm.fitting import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(400, 2)) + np.repeat([[0.0], [9.0]], 200, axis=0)


def make_model(**settings):
    return GaussianMixture(2, random_state=0, tol=0, max_iter=5, **settings)


def test_nothing_is_shown_by_default(rows, capfd):
    GaussianMixture(2, random_state=0).fit(rows)
    assert capfd.readouterr() == ("", "")


def test_a_file_gets_one_line_after_passes_1_2_4_and_the_last(rows, capfd):
    with pytest.warns(match="did not converge"):
        model = make_model(verbose=1).fit(rows)
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("pass")]
    assert [line.split(":")[0] for line in lines] == ["pass 1", "pass 2", "pass 4", "pass 5"]
    assert lines[-1] == f"pass 5: 2,000 rows read, log-likelihood {model.lower_bound_:.6g} nats/row"


def test_a_terminal_gets_one_bar_that_shows_all_rows_at_the_end(rows, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.warns(match="did not converge"):
        model = make_model(verbose=1).fit(rows)
    shown = sys.stderr.getvalue().split("\r")
    assert any(state.startswith("start:") for state in shown)
    assert any(state.startswith("pass 2:") for state in shown)
    assert shown[-1].startswith("5 passes: 100%")
    assert "2.00k/2.00k" in shown[-1]
    assert f"ll {model.lower_bound_:.6g} nats/row" in shown[-1]


def test_a_terminal_that_reports_0_columns_gets_a_bar(rows, monkeypatch):
    monkeypatch.setattr(Terminal, "fileno", lambda self: 2)
    monkeypatch.setattr("os.get_terminal_size", lambda *descriptor: os.terminal_size((0, 0)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.warns(match="did not converge"):
        make_model(verbose=1).fit(rows)
    assert "5 passes: 100%" in sys.stderr.getvalue()


def test_batches_of_unknown_number_get_a_bar_with_a_total_after_one_pass(rows, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.warns(match="did not converge"):
        make_model(verbose=1).fit(lambda: iter([rows[:100], rows[100:]]))
    assert "/400" in sys.stderr.getvalue()
    assert "5 passes: 100%" in sys.stderr.getvalue()


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_verbose_2_prints_iterations_like_scikit_learn(rows, capsys, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    with pytest.warns(match="did not converge"):
        make_model(verbose=2, verbose_interval=2).fit(rows)
    printed = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["  Iteration 2", "  Iteration 4"]


def test_a_notebook_without_widgets_gets_a_text_bar_and_no_warning(rows, monkeypatch):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    for name in ("tqdm.auto", "tqdm.autonotebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("tqdm.notebook.IProgress", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress.is_interactive()
    with pytest.warns(match="did not converge"):
        make_model(verbose=1).fit(rows)
    assert "5 passes: 100%" in sys.stderr.getvalue()


def test_a_fit_that_fails_closes_its_bar(rows, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    rows[7, 1] = np.inf
    with pytest.raises(ValueError, match="infin"):
        make_model(verbose=1).fit(rows)
    assert sys.stderr.getvalue().endswith("\n")


def test_a_selection_shows_the_best_candidates_so_far_below_the_bar(rows, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    selection = select(rows, range(1, 10), ["full", "diag"], random_state=0, verbose=1)
    shown = sys.stderr.getvalue()
    assert "components  covariance          bic so far  passes" in shown
    ended = re.findall(r"(?:full|diag) +([\d,.]+) +\d+  (?:ended|dropped)", shown)
    assert min(float(value.replace(",", "")) for value in ended) == pytest.approx(
        selection.table["bic"].min(), rel=1e-3
    )
    assert "12  others, " in shown  # 18 candidates, of which six are shown
    assert shown.rstrip().endswith("nats/row]")  # the bar alone is left


def test_a_selection_writes_no_table_to_a_file(rows, capfd):
    select(rows, [1, 2], random_state=0, verbose=1)
    out, err = capfd.readouterr()
    assert out == "" and "so far" not in err and "pass 1:" in err
