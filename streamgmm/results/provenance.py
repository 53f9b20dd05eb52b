"""Provenance of a result: its kind, its parameters and its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Self

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.data.sources import Source
from streamgmm.model.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Provenance:
    """Inputs of a result; a partial result is resumed only if they are equal."""

    kind: str  # labels, responsibilities or log-densities; for an image segments, (largest) probabilities
    model: str  # digest of the parameters
    rows: Fingerprint
    streamgmm: str  # version of the package; another may round differently
    settings: Mapping[str, Any] = field(default_factory=dict)  # of an image: axes, nodata, mask, in JSON's types

    @classmethod
    def from_source(
        cls, kind: str, parameters: Parameters, source: Source, settings: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the provenance of a result of a source; three of its chunks are read."""
        digest, rows = digest_parameters(parameters), Fingerprint.from_source(source)
        return cls(kind, digest, rows, version("streamgmm"), dict(settings or {}))

    @classmethod
    def from_json(cls, attributes: dict[str, Any]) -> Self:
        """Return the inverse of `dataclasses.asdict`; KeyError or TypeError if ``attributes`` is anything else."""
        rows = Fingerprint(**attributes["rows"])
        return cls(attributes["kind"], attributes["model"], rows, attributes["streamgmm"], dict(attributes["settings"]))

    def difference(self, other: Provenance) -> str:
        """Return in words how another result differs; empty if it does not."""
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
    """Return the digest that identifies parameters in results.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> digest_parameters(Parameters(np.ones(1), np.zeros((1, 1)), one, one))
    '0d8b66cd4bdb33ad'
    """
    return f"{parameters.version:016x}"
