"""A whole fit: its plan, its phases, the driver, streams. It knows nothing of scikit-learn."""
