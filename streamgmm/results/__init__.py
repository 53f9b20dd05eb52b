"""Predictions on disk: zarr arrays with checksums and provenance, which can be resumed."""
