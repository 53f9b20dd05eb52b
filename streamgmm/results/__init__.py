"""Predictions on disk: zarr arrays with checksums that say what they were computed from and can be resumed."""
