"""Rows as chunks, and how they are read: sources, threads, dask, shuffling, partitions, fingerprints. It knows no algorithm."""
