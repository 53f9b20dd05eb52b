"""Rows as chunks, and how they are read: sources, threads, dask, shuffling, partitions, fingerprints.

No algorithm is known here.
"""
