import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from streamgmm.cli import main


@pytest.fixture
def rows():
    """Three well-separated clusters."""
    random = np.random.default_rng(0)
    return (random.standard_normal((5_000, 3)) + 20 * random.integers(0, 3, (5_000, 1))).astype(np.float32)


@pytest.fixture
def source(rows, tmp_path):
    """The same rows in a zarr array whose last chunk is short."""
    path = tmp_path / "rows.zarr"
    stored = zarr.create_array(path, shape=rows.shape, chunks=(700, 3), dtype=rows.dtype)
    stored[:] = rows
    return path


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """Path of a model that is fitted once and then copied."""
    return tmp_path_factory.mktemp("fitted") / "model.gmm"


@pytest.fixture
def model(source, fitted, tmp_path):
    if not fitted.exists():
        assert main(["fit", str(source), "-k", "3", "-o", str(fitted), "--quiet"]) == 0
    return Path(shutil.copy(fitted, tmp_path / "model.gmm"))


@pytest.fixture
def run(capfd):
    """Run the command line in this process: exit code, standard output, standard error."""

    def run_command(*arguments):
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exited:
            code = exited.code
        return code, *capfd.readouterr()

    return run_command
