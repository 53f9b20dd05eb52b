"""What a result is of: what was computed, by which model, of which rows. It knows nothing of files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Self

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.estimator.attributes import parameters_of
from streamgmm.model.covariances import STRUCTURES


@dataclass(frozen=True, slots=True)
class Record:
    """By what a result is recognized; one that was begun may be gone on with if this is the same.

    Attributes
    ----------
    kind : str
        What was computed: ``"labels"``, ``"responsibilities"``, ``"log-densities"``, or of an image ``"segments"``,
        ``"probabilities"`` or ``"largest probabilities"``.
    model : str
        Digest of the parameters.
    rows : Fingerprint
        Of the source.
    streamgmm : str
        Version that computed it; another may round differently.
    settings : mapping of str
        What else it depends on, by name, in JSON's types: of an image its axes, nodata, mask and the like.
    """

    kind: str
    model: str
    rows: Fingerprint
    streamgmm: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, model: Any, source: Source, settings: Mapping[str, Any] | None = None) -> Self:
        """Record of what a fitted model says of a source, three of whose chunks are read."""
        return cls(
            kind, model_digest(model), Fingerprint.from_source(source), version("streamgmm"), dict(settings or {})
        )

    @classmethod
    def read(cls, attributes: dict[str, Any]) -> Self:
        """What `written` made; KeyError or TypeError where it is something else."""
        rows = Fingerprint(**attributes["rows"])
        return cls(attributes["kind"], attributes["model"], rows, attributes["streamgmm"], dict(attributes["settings"]))

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
        rows = self.rows.describe_difference(other.rows)
        if rows:
            return f"other rows: {rows}"
        for name in sorted({*self.settings, *other.settings}):
            here, there = (json.dumps(one.settings.get(name)) for one in (self, other))
            if here != there:
                return f"{name} {there}, not {here}"
        return ""


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
