"""Every criterion of the table, and one that only this file has, works wherever a criterion is named."""

from math import inf, isnan, log

import numpy as np
import pytest
from matplotlib.figure import Figure

from streamgmm import Selection, select
from streamgmm.cli import main
from streamgmm.errors import InputError
from streamgmm.model.criteria import Criterion
from streamgmm.model.information_criteria import AIC, CRITERIA, find_criterion


class AICc(AIC):
    """AIC with the correction for few rows (Hurvich & Tsai, 1989)."""

    name = "aicc"
    label = "AICc"

    def evaluate(self, log_likelihood, classification, n_samples, n_parameters):
        left = n_samples - n_parameters - 1
        aic = super().evaluate(log_likelihood, classification, n_samples, n_parameters)
        return aic + 2 * n_parameters * (n_parameters + 1) / left if left > 0 else inf


@pytest.fixture(params=[*CRITERIA.values(), AICc()], ids=lambda criterion: criterion.name)
def criterion(request, monkeypatch):
    monkeypatch.setitem(CRITERIA, request.param.name, request.param)
    return request.param


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return random.normal(size=(600, 2)) + np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], 200, axis=0)


@pytest.fixture
def found(criterion, rows):
    return select(rows, [1, 2, 3], criterion=criterion.name, random_state=0)


# l = -100, sum of log max r = -5, N = 50, nu = 7, by hand
@pytest.mark.parametrize(("name", "value"), [("bic", 200 + 7 * log(50)), ("aic", 214.0), ("icl", 210 + 7 * log(50))])
def test_a_criterion_has_the_value_of_its_formula(name, value):
    criterion = Criterion(-100.0, -5.0, 50.0, 7)
    assert criterion.value(name) == getattr(criterion, name) == pytest.approx(value, rel=1e-15)


def test_an_unknown_name_is_refused_with_the_known_names():
    for refuse in (find_criterion, Criterion(-100.0, -5.0, 50.0, 7).value):
        with pytest.raises(InputError, match=f"'BIC'; choose one of {', '.join(map(repr, CRITERIA))}"):
            refuse("BIC")


def test_a_likelihood_criterion_prefers_more_likelihood_and_fewer_parameters(criterion):
    def evaluate(log_likelihood, n_parameters):
        return criterion.evaluate(log_likelihood, -5.0, 50.0, n_parameters)

    if criterion.from_held_out:
        assert isnan(evaluate(-100.0, 7))
    else:
        assert evaluate(-90.0, 7) == pytest.approx(evaluate(-100.0, 7) - 20.0)
        assert evaluate(-100.0, 7) < evaluate(-100.0, 8)


def test_a_criterion_that_needs_responsibilities_is_unknown_without_them(criterion):
    value = criterion.evaluate(-100.0, None, 50.0, 7)
    assert isnan(value) == (not criterion.allows_early_dropping)


def test_the_best_mixture_is_chosen_by_the_column_of_the_criterion(criterion, found):
    column = found.table[criterion.name]
    best = np.nanargmin(column) if criterion.lower_is_better else np.nanargmax(column)
    assert found.best is found.models[best] and found.best.n_components == 3
    assert found.criterion == criterion.name and criterion.name in repr(found)
    if not criterion.from_held_out:
        exact = [model.criteria_["exact"].value(criterion.name) for model in found.models]
        np.testing.assert_array_equal(column, exact)


def test_a_plot_of_the_selection_has_a_curve_of_the_criterion(criterion, found):
    ax = found.plot(ax=Figure().subplots())
    assert f"{criterion.label}, full" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_selection_of_other_criteria_is_drawn(found):
    del found.table["bic" if found.criterion == "aic" else "aic"]
    found.plot(ax=Figure().subplots())
    found.criterion, found.table["other"] = "other", found.table["icl"]
    found.plot(ax=Figure().subplots())


def test_a_criterion_that_is_infinite_for_all_candidates_is_refused(monkeypatch, rows):
    monkeypatch.setitem(CRITERIA, "aicc", AICc())
    with pytest.raises(InputError, match="criterion='aicc' is not finite for any candidate; give more rows"):
        select(rows[:12], [3], criterion="aicc", random_state=0)


def test_a_saved_selection_keeps_the_criterion(criterion, found, tmp_path):
    found.save(tmp_path / "selection")
    loaded = Selection.load(tmp_path / "selection")
    assert loaded.criterion == criterion.name
    np.testing.assert_array_equal(loaded.table[criterion.name], found.table[criterion.name])


def test_rows_that_arrive_are_scored_by_density_where_the_criterion_targets_it(criterion, found, rows):
    later = found.partial_fit(rows[::2])
    assert later.criterion == ("prequential" if criterion.targets_density else "evidence")


def test_the_command_line_chooses_by_the_criterion_prints_it_and_names_it_in_its_help(
    criterion, rows, tmp_path, capsys
):
    np.save(tmp_path / "rows.npy", rows)
    arguments = [str(tmp_path / "rows.npy"), "-k", "2,3", "-o", str(tmp_path / "model"), "--seed", "0"]
    assert main(["select", *arguments, "--criterion", criterion.name]) == 0
    assert criterion.name in capsys.readouterr().out.splitlines()[0].split()
    assert main(["info", str(tmp_path / "model")]) == 0
    assert (f", {criterion.label} " in capsys.readouterr().out) == (not criterion.from_held_out)
    with pytest.raises(SystemExit):
        main(["select", "--help"])
    assert f"{criterion.name}, {criterion.purpose}" in " ".join(capsys.readouterr().out.split())
