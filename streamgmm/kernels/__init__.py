"""The E-step on rows: compiled loops, and the plain NumPy oracle that they are tested against."""
