"""Rows as chunks, and passes over them: sources, threads, dask, shuffling, partitions, fingerprints."""
