"""Provenance of a result: what was computed, by which parameters, of which rows. It knows nothing of files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Self

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.model.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result depends on; a partial one is resumed only where all of it is the same.

    Attributes
    ----------
    kind : str
        What was computed: ``"labels"``, ``"responsibilities"``, ``"log-densities"``, or of an image ``"segments"``,
        ``"probabilities"`` or ``"largest probabilities"``.
    model : str
        Digest of the parameters.
    rows : Fingerprint
        Fingerprint of the source.
    streamgmm : str
        Version of the package; another may round differently.
    settings : mapping of str
        Other settings by name, in JSON's types: of an image its axes, nodata, mask and the like.
    """

    kind: str
    model: str
    rows: Fingerprint
    streamgmm: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_source(
        cls, kind: str, parameters: Parameters, source: Source, settings: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the provenance of what is computed from a source; three of its chunks are read."""
        digest, rows = digest_parameters(parameters), Fingerprint.from_source(source)
        return cls(kind, digest, rows, version("streamgmm"), dict(settings or {}))

    @classmethod
    def from_json(cls, attributes: dict[str, Any]) -> Self:
        """Return what `to_json` wrote; KeyError or TypeError where it is something else."""
        rows = Fingerprint(**attributes["rows"])
        return cls(attributes["kind"], attributes["model"], rows, attributes["streamgmm"], dict(attributes["settings"]))

    def to_json(self) -> dict[str, Any]:
        """Return the same in JSON's types."""
        return asdict(self)

    def difference(self, other: Provenance) -> str:
        """Return in words how another result differs; empty where it does not."""
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
            expected, actual = (json.dumps(result.settings.get(name)) for result in (self, other))
            if expected != actual:
                return f"{name} {actual}, not {expected}"
        return ""


def digest_parameters(parameters: Parameters) -> str:
    """Return the digest by which results name the parameters that they were computed with.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> digest_parameters(Parameters(np.ones(1), np.zeros((1, 1)), one, one))
    '0d8b66cd4bdb33ad'
    """
    return f"{parameters.version:016x}"
