"""Mutations that are led by which lines they reach: for atheris, which need not be installed.

python tests/persistence/harness/guided.py -runs=100000
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["streamgmm.persistence", "streamgmm.estimator.loading"]):
    import streamgmm.estimator.loading  # noqa: F401

import damage
import golden


def read(content: bytes) -> None:
    """One input."""
    what = damage.outcome(content)
    if what not in ("refused", "read"):
        raise AssertionError(what)


def mutated(content: bytes, largest: int, seed: int) -> bytes:
    """Its form kept and sealed again, where it has one; or any bytes."""
    chance = random.Random(seed)
    if chance.random() < 0.8:
        try:
            return damage.mutated(content, chance)[:largest]
        except Exception:
            pass  # it has no form any more
    return atheris.Mutate(content, largest)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        (Path(corpus) / "small").write_bytes(damage.small())
        for path in golden.FOLDER.glob("*.safetensors"):
            (Path(corpus) / path.name).write_bytes(path.read_bytes())
        flags = [f"-artifact_prefix={tempfile.gettempdir()}/", "-max_len=40000", "-rss_limit_mb=4096"]
        atheris.Setup([*sys.argv, *flags, corpus], read, custom_mutator=mutated)
        atheris.Fuzz()
