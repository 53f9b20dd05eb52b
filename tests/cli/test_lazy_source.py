import numpy as np

from streamgmm.cli.verbs import open_lazy_source


def test_memory_mapped_rows_are_read_block_by_block(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((100_000, 4)))
    monkeypatch.setattr("streamgmm.data.sources.storage.TASK_BYTES", 2**20)
    source = open_lazy_source(tmp_path / "x.npy")
    assert source.array.numblocks[0] > 1
    read = []
    sums = source.map(lambda rows: read.append(len(rows)) or rows.sum(axis=1), float, None)
    assert read == []
    assert sums.compute(scheduler="synchronous").sum() == 400_000
    assert max(read) < 50_000
