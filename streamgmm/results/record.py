"""What a result is of: what was computed, by which model, of which rows. It knows nothing of files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Self

from streamgmm.attributes import parameters_of
from streamgmm.covariances import STRUCTURES
from streamgmm.fingerprint import Fingerprint
from streamgmm.sources import Source


@dataclass(frozen=True, slots=True)
class Record:
    """By what a result is recognized; one that was begun may be gone on with if this is the same.

    Attributes
    ----------
    kind : str
        What was computed: ``"labels"``, ``"responsibilities"``, ``"log-densities"``, or ``"segments"`` of an image.
    model : str
        Digest of the parameters.
    rows : Fingerprint
        Of the source.
    streamgmm : str
        Version that computed it; another may round differently.
    """

    kind: str
    model: str
    rows: Fingerprint
    streamgmm: str

    @classmethod
    def of(cls, kind: str, model: Any, source: Source) -> Self:
        """Record of what a fitted model says of a source, three of whose chunks are read."""
        return cls(kind, model_digest(model), Fingerprint.of(source), version("streamgmm"))

    @classmethod
    def read(cls, attributes: dict[str, Any]) -> Self:
        """What `written` made; KeyError or TypeError where it is something else."""
        rows = Fingerprint(**attributes["rows"])
        return cls(attributes["kind"], attributes["model"], rows, attributes["streamgmm"])

    def written(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return asdict(self)

    def difference(self, other: Record) -> str:
        """What is different about another result, in words; empty where nothing is."""
        if self.kind != other.kind:
            return f"{other.kind}, not {self.kind}"
        if self.model != other.model:
            return f"another model, {other.model}, not {self.model}"
        if self.streamgmm != other.streamgmm:
            return f"streamgmm {other.streamgmm}, not {self.streamgmm}"
        rows = self.rows.difference(other.rows)
        return rows and f"other rows: {rows}"


def model_digest(model: Any) -> str:
    """Digest of the parameters of a fitted model, by which its results say whose they are.

    Examples
    --------
    >>> from streamgmm import GaussianMixture
    >>> one, two = (GaussianMixture(1).fit([[0.0], [1.0]]) for _ in range(2))
    >>> model_digest(one) == model_digest(two), len(model_digest(one))
    (True, 16)
    """
    return f"{parameters_of(model, STRUCTURES[model.covariance_type]).version:016x}"
