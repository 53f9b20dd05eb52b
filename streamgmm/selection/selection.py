"""What a selection has found: the chosen mixture, all others, and the table of them; and how it learns on."""

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

LASTING = ("n_components", "covariance_type", "n_parameters", "dropped")  # columns that rows which arrive do not change


@dataclass(eq=False, repr=False)
class Selection:
    """What `select` has found.

    Attributes
    ----------
    best : GaussianMixture
        The chosen one, fitted to all rows.
    table : dict of ndarray
        A column a name, a row a candidate (family by family, sizes as they were given):

        ``n_components``, ``covariance_type``, ``n_parameters``
            Which one, and its free parameters ν.
        ``log_likelihood``
            Of all rows under its parameters, nats; exact. NaN where it has degenerated.
        ``bic``, ``aic``, ``icl``
            As in `streamgmm.model.criteria`: lower is better. Of as many rows as were said to be independent, where that was
            said; ``criteria_`` of the models is of all.
        ``gain``
            Nats a row more than the next smaller size of its family; NaN for the smallest.
        ``heldout``, ``heldout_error``
            Mean log-density of rows of the sample under what each candidate makes of the other rows of it, nats a row,
            and the standard error of its difference from the largest. NaN where no rows were held out: unless
            ``criterion="heldout"``, where there are fewer than 16,384 (32,768 for many parameters), or weights, or
            another ``init_params``.
        ``converged``, ``n_iter``
            Whether EM has, and its passes.
        ``dropped``
            Whether it left before, because it could not win.

        After rows have arrived only which ones, ``n_parameters``, ``dropped``, and

        ``bic_at_first``
            BIC of the rows that were there before.
        ``prequential``
            Mean log-density of the rows that have arrived since, each before it was learnt, nats a row.
        ``evidence``
            ``bic_at_first`` less twice the prequential log-likelihood: BIC estimates −2 log p of the rows before (the
            marginal likelihood), and the prequential likelihood is p of the others given these, without an estimate;
            lower is better. Where rows are worth fewer independent ones, so are those that have arrived.
        ``bound``
            A lower bound of the log-likelihood of all rows learnt, nats a row.
    criterion : str
        By which ``best`` was chosen; after rows have arrived 'evidence', or 'prequential' where it had been 'aic' or
        'heldout'; 'gain' in a segmentation.
    models : tuple of GaussianMixture or None
        All candidates, fitted, in the order of the table; None where one has degenerated.
    worth : float
        Independent rows that a row is worth: 1 unless ``effective_n`` was given.
    checkpoint : str, path-like, Checkpoint or None
        Where `partial_fit` keeps what it has learnt.
    """

    best: GaussianMixture
    table: dict[str, NDArray[Any]]
    criterion: str
    models: tuple[GaussianMixture | None, ...]
    worth: float = 1.0
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None
    _position: tuple[str, int] = field(default=("", 0), init=False)  # run and number of the generation it goes on from
    _writer: CheckpointWriter | None = field(default=None, init=False)

    def partial_fit(self, X: Any, sample_weight: ArrayLike | None = None, token: Any = None) -> Self:
        """Learn rows that have arrived, every candidate in the same reading, and choose anew.

        The best is then the one for which there is most evidence: by the rows before, as BIC has it, and by how well it
        has expected those that have arrived since, each before it was learnt (the prequential likelihood; Dawid, 1984),
        which pays for the parameters itself. So a few rows change little, and many decide. Where density was asked for
        (AIC, rows held out), the prequential likelihood alone decides. Candidates that were dropped learn as well.

        All candidates are in memory, and in the checkpoint where there is one: a generation is written as often as
        `Checkpoint` says, and `Selection.load` goes on with it. Batches with
        tokens may then be fed again: those that were learnt are left out.

        Parameters
        ----------
        X, sample_weight, token
            As in `GaussianMixture.partial_fit`; an iterator of batches is read once.

        Returns
        -------
        self : Selection

        Raises
        ------
        InputError
            The data cannot be used; a ValueError. The selection is then as it was before the call.
        DegenerateError
            No candidate has a covariance that can be inverted any more; a ValueError. The selection is then as it was.
            A single one that has not leaves.
        CheckpointError
            The checkpoint is used by another fit, holds something else, or cannot be written; a RuntimeError. The
            selection is then as it was.

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
            return self._learn(as_source(X, sample_weight), token)
        if self._writer is None or not self._writer.store.is_open:
            self._writer = open_selection_writer(self.checkpoint, self._position)
        writer = self._writer
        after = copy(self)._learn(as_source(X, sample_weight), token)
        if writer.is_due(retry=True):
            generation = write_content(writer, SavedSelection.from_selection(after))
            after._position = (writer.run, generation.number)
        self.__dict__ = after.__dict__
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all candidates and the table to one file.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced once the new one is safe.

        Raises
        ------
        CheckpointWriteError, OSError
            It could not be written; what was there is untouched.

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
        """Read a selection that `save` wrote, or that a checkpoint holds; it learns on as if it had never been away.

        Parameters
        ----------
        path : str or path-like
            The file, or the folder of a checkpoint, in which `partial_fit` then goes on.

        Returns
        -------
        Selection

        Raises
        ------
        CheckpointError
            The file or folder is missing, empty, damaged, foreign, of a newer format, or holds a model, or a selection
            that is not made yet or has learnt nothing since: `select` goes on with that.

        Warns
        -----
        CheckpointWarning
            The newest generation was damaged, and an older one was read; or it was written in another environment.
        """
        arguments, position = load_selection(Path(path))
        selection = cls(**arguments)
        selection._position = position
        return selection

    def _learn(self, reading: Reading, token: Any = None) -> Self:
        """`partial_fit` of rows whose name was not seen before."""
        models = {place: copy(model) for place, model in enumerate(self.models) if model is not None}
        for rows, weights, last in _parts(reading):
            for place, model in list(models.items()):
                try:
                    model.partial_fit(rows, sample_weight=weights, token=token if last else None)
                except DegenerateError:
                    if len(models) == 1:
                        raise
                    del models[place]
        if all("prequential" in model.criteria_ for model in models.values()):
            learnt = _after(self, tuple(models.get(place) for place in range(len(self.models))))
            for part in ("best", "table", "criterion", "models"):
                setattr(self, part, getattr(learnt, part))
        return self

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame.

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
        place = next(number for number, model in enumerate(self.models) if model is self.best)
        value = self.table[self.criterion][place]
        dropped, n = int(self.table["dropped"].sum()), len(self.models)
        return (
            f"Selection({self.best.n_components} components, {self.best.covariance_type}, by {self.criterion} "
            f"{value:,.6g}; {n} candidate{'s' * (n != 1)}, {dropped} of them dropped)"
        )


def _parts(reading: Reading) -> Iterator[tuple[NDArray[Any], NDArray[np.float64] | None, bool]]:
    """Rows and weights, as many chunks at a time as fit in memory together, and whether they are the last."""
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


def _after(before: Selection, models: tuple[GaussianMixture | None, ...]) -> Selection:
    """The selection after all models have learnt the same rows that arrived."""
    tallies = [None if model is None else model.criteria_["prequential"] for model in models]
    sums = np.array([one.log_likelihood if isinstance(one, Prequential) else nan for one in tallies])
    means = np.array([one.mean if isinstance(one, Prequential) else nan for one in tallies])
    bounds = np.array([nan if model is None else model.lower_bound_ for model in models])
    at_first = before.table["bic_at_first" if "bic_at_first" in before.table else "bic"]
    table = {
        **{name: before.table[name] for name in LASTING},
        "bic_at_first": at_first,
        "prequential": means,
        "evidence": at_first - 2.0 * before.worth * sums,
        "bound": bounds,
    }
    chosen_by = CRITERIA.get(before.criterion)
    by_density = before.criterion == "prequential" if chosen_by is None else chosen_by.targets_density
    criterion = "prequential" if by_density else "evidence"
    values = -means if criterion == "prequential" else table["evidence"]
    best = models[int(np.nanargmin(values))]
    assert best is not None
    return Selection(best, table, criterion, models, before.worth)
