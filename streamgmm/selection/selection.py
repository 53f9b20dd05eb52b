"""The result of a selection: the chosen mixture, all candidates, and their table; and its updates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamgmm import plot
from streamgmm.data.checks import check_finite
from streamgmm.data.shuffling import group_chunks, load_chunks
from streamgmm.data.source import Reading
from streamgmm.data.sources import as_source
from streamgmm.errors import DegenerateError
from streamgmm.estimator import GaussianMixture
from streamgmm.model.criteria import Prequential
from streamgmm.model.information_criteria import CRITERIA
from streamgmm.persistence.session import save_object, write_content
from streamgmm.persistence.writer import Checkpoint, CheckpointWriter
from streamgmm.selection.saved_selection import SavedSelection, load_selection, open_selection_writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONSTANT_COLUMNS = ("n_components", "covariance_type", "n_parameters", "dropped")  # unchanged by new rows


@dataclass(eq=False, repr=False)
class Selection:
    """Result of `select`.

    Attributes
    ----------
    best : GaussianMixture
        The chosen mixture, fitted to all rows.
    table : dict of ndarray
        Columns by name; a row for each candidate, family by family, with sizes in the order given:

        ``n_components``, ``covariance_type``, ``n_parameters``
            The candidate and its number of free parameters ν.
        ``log_likelihood``
            Exact log-likelihood of all rows, nats; NaN for a degenerate candidate.
        ``bic``, ``aic``, ``icl``
            Information criteria (`streamgmm.model.information_criteria`); lower is better. They count ``effective_n``
            rows if that was given; ``criteria_`` of the models counts all rows.
        ``gain``
            Gain over the next smaller size of the same family, nats a row; NaN for the smallest.
        ``heldout``, ``heldout_error``
            Mean log-density of held-out rows of the subsample, nats a row, and the standard error of its difference
            from the largest. Unless ``criterion="heldout"``, NaN where no rows were held out: fewer than 16,384 rows
            (32,768 for many parameters), weights, or another ``init_params``.
        ``converged``, ``n_iter``
            Convergence and number of passes of EM.
        ``dropped``
            Candidates that were dropped early because they could not win.

        After `partial_fit` the columns are ``n_components``, ``covariance_type``, ``n_parameters``, ``dropped`` and

        ``bic_at_first``
            BIC of the rows before.
        ``prequential``
            Mean log-density of the rows since, each evaluated before it was learnt, nats a row.
        ``evidence``
            ``bic_at_first`` minus twice the prequential log-likelihood; lower is better. BIC estimates −2 log p of the
            rows before (the marginal likelihood); the prequential likelihood is p of later rows given these. With
            ``effective_n``, both count independent rows.
        ``bound``
            Lower bound of the log-likelihood of all rows, nats a row.
    criterion : str
        Criterion by which ``best`` was chosen. After `partial_fit` it is 'evidence', or 'prequential' where it was
        'aic' or 'heldout'; 'gain' in a segmentation.
    models : tuple of GaussianMixture or None
        All candidates, fitted, in the order of the table; None for a degenerate one.
    worth : float
        Independent rows per row: 1 unless ``effective_n`` was given.
    checkpoint : str, path-like, Checkpoint or None
        Folder to which `partial_fit` writes.
    """

    best: GaussianMixture
    table: dict[str, NDArray[Any]]
    criterion: str
    models: tuple[GaussianMixture | None, ...]
    worth: float = 1.0
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None
    _position: tuple[str, int] = field(default=("", 0), init=False)  # run and number of the generation it continues
    _writer: CheckpointWriter | None = field(default=None, init=False)

    def partial_fit(self, X: Any, sample_weight: ArrayLike | None = None, token: Any = None) -> Self:
        """Update every candidate with new rows, in one reading, and choose again.

        The best candidate is then the one with the lowest ``evidence``: BIC of the first rows minus twice the
        prequential log-likelihood of the rows since (Dawid, 1984), which needs no penalty for parameters. A few rows
        change little, and many decide. If density was the aim ('aic', 'heldout'), the prequential likelihood alone
        decides. Candidates that were dropped early are updated as well.

        All candidates are kept in memory. With a checkpoint, generations are written as often as `Checkpoint` says, and
        `Selection.load` resumes from them; batches with tokens can then be passed again and are skipped if they were
        learnt.

        Parameters
        ----------
        X : array-like, lazy array, path or batches of shape (n_samples, n_features)
            Any number of rows; every kind of data that `select` reads. An iterator of batches is read once.
        sample_weight : array-like or lazy array of shape (n_samples,), optional
            Frequency weights: a weight of 2 is the row twice.
        token : int, str or bytes, optional
            Name of these rows. A call with a token that was learnt before does nothing.

        Returns
        -------
        self : Selection

        Raises
        ------
        InputError
            The data cannot be used; a ValueError. The selection is then as it was before the call.
        DegenerateError
            Every candidate has become degenerate; a ValueError. The selection is then as it was. A single degenerate
            candidate is removed.
        CheckpointError
            The checkpoint is in use, belongs to something else, or cannot be written; a RuntimeError. The selection is
            then as it was.

        Examples
        --------
        >>> import numpy as np
        >>> from streamgmm import select
        >>> rows = np.random.default_rng(0).normal(size=(2000, 1)) + np.repeat([[0.0], [8.0]], 1000, axis=0)
        >>> rows = np.random.default_rng(1).permutation(rows)
        >>> found = select(rows[:500], [1, 2], random_state=0)
        >>> for part in np.split(rows[500:], 5):
        ...     found = found.partial_fit(part)
        >>> found.best.n_components, found.criterion, found.best.n_samples_seen_
        (2, 'evidence', 2000)
        """
        if token is not None and any(token in model._state.tokens for model in self.models if model):
            return self
        if self.checkpoint is None:
            return self._learn_rows(as_source(X, sample_weight), token)
        if self._writer is None or not self._writer.store.is_open:
            self._writer = open_selection_writer(self.checkpoint, self._position)
        writer = self._writer
        updated = copy(self)._learn_rows(as_source(X, sample_weight), token)
        if writer.is_due(retry=True):
            generation = write_content(writer, SavedSelection.from_selection(updated))
            updated._position = (writer.run, generation.number)
        self.__dict__ = updated.__dict__
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all candidates and the table to one file.

        Parameters
        ----------
        path : str or path-like
            The file. An existing file is replaced once the new one is complete.

        Raises
        ------
        CheckpointWriteError, OSError
            The file could not be written; an existing file is unchanged.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from streamgmm import Selection, select
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "choice.safetensors"
        >>> select([[0.0], [0.1], [7.0], [7.1]] * 9, [1, 2], random_state=0).save(path)
        >>> Selection.load(path).best.n_components
        2
        """
        save_object(path, SavedSelection.from_selection(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a selection from a file of `save` or from a checkpoint.

        Parameters
        ----------
        path : str or path-like
            The file, or the folder of a checkpoint, to which `partial_fit` then continues to write.

        Returns
        -------
        Selection

        Raises
        ------
        CheckpointError
            The file or folder is missing, empty, damaged, foreign or of a newer format. Or it holds a model, or a
            selection without a call of `partial_fit`, which `select` resumes.

        Warns
        -----
        CheckpointWarning
            An older generation was read because the newest is damaged, or the environment differs.
        """
        arguments, position = load_selection(Path(path))
        selection = cls(**arguments)
        selection._position = position
        return selection

    def _learn_rows(self, reading: Reading, token: Any = None) -> Self:
        """Update a copy of every candidate, then take them over together."""
        models = {index: copy(model) for index, model in enumerate(self.models) if model is not None}
        for rows, weights, last in _iter_batches(reading):
            for index, model in list(models.items()):
                try:
                    model.partial_fit(rows, sample_weight=weights, token=token if last else None)
                except DegenerateError:
                    if len(models) == 1:
                        raise
                    del models[index]
        if all("prequential" in model.criteria_ for model in models.values()):
            updated = _make_updated_selection(self, tuple(models.get(index) for index in range(len(self.models))))
            for name in ("best", "table", "criterion", "models"):
                setattr(self, name, getattr(updated, name))
        return self

    def to_pandas(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("A DataFrame needs pandas; install it with: pip install 'streamgmm[tables]'") from None
        return pandas.DataFrame(self.table)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the criteria against the number of components; see `streamgmm.plot.selection`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; the current axes by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot.selection(self, ax=ax)

    def __repr__(self) -> str:
        index = next(index for index, model in enumerate(self.models) if model is self.best)
        value = self.table[self.criterion][index]
        dropped, n = int(self.table["dropped"].sum()), len(self.models)
        return (
            f"Selection({self.best.n_components} components, {self.best.covariance_type}, by {self.criterion} "
            f"{value:,.6g}; {n} candidate{'s' * (n != 1)}, {dropped} of them dropped)"
        )


def _iter_batches(reading: Reading) -> Iterator[tuple[NDArray[Any], NDArray[np.float64] | None, bool]]:
    """Yield rows and weights of as many chunks as fit in memory together, and True with the last."""
    pending = None
    for group in group_chunks(((chunk,) for chunk in reading.chunks()), reading):
        if pending is not None:
            yield *pending, False
        chunks = load_chunks([chunk for (chunk,) in group])
        for chunk in chunks:
            check_finite(chunk)
        rows = chunks[0].rows if len(chunks) == 1 else np.concatenate([chunk.rows for chunk in chunks])
        weights = None if chunks[0].weights is None else np.concatenate([chunk.weights for chunk in chunks])
        pending = rows, weights
    if pending is not None:
        yield *pending, True


def _make_updated_selection(before: Selection, models: tuple[GaussianMixture | None, ...]) -> Selection:
    """Return the selection after all models were updated with the same rows."""
    prequential = [None if model is None else model.criteria_["prequential"] for model in models]
    sums = np.array([one.log_likelihood if isinstance(one, Prequential) else nan for one in prequential])
    means = np.array([one.mean if isinstance(one, Prequential) else nan for one in prequential])
    bounds = np.array([nan if model is None else model.lower_bound_ for model in models])
    first_bic = before.table["bic_at_first" if "bic_at_first" in before.table else "bic"]
    table = {
        **{name: before.table[name] for name in CONSTANT_COLUMNS},
        "bic_at_first": first_bic,
        "prequential": means,
        "evidence": first_bic - 2.0 * before.worth * sums,
        "bound": bounds,
    }
    chosen_by = CRITERIA.get(before.criterion)
    by_density = before.criterion == "prequential" if chosen_by is None else chosen_by.targets_density
    criterion = "prequential" if by_density else "evidence"
    values = -means if criterion == "prequential" else table["evidence"]
    best = models[int(np.nanargmin(values))]
    assert best is not None
    return Selection(best, table, criterion, models, before.worth)
