import numpy as np
import pytest
import zarr

from streamgmm.cli import main


@pytest.fixture
def rows():
    """Three clusters that nobody could confuse."""
    random = np.random.default_rng(0)
    return (random.standard_normal((5_000, 3)) + 20 * random.integers(0, 3, (5_000, 1))).astype(np.float32)


@pytest.fixture
def source(rows, tmp_path):
    """The same rows in a zarr array whose last chunk is short."""
    path = tmp_path / "rows.zarr"
    stored = zarr.create_array(path, shape=rows.shape, chunks=(700, 3), dtype=rows.dtype)
    stored[:] = rows
    return path


@pytest.fixture
def model(source, tmp_path):
    path = tmp_path / "model.gmm"
    assert main(["fit", str(source), "-k", "3", "-o", str(path), "--quiet"]) == 0
    return path


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
