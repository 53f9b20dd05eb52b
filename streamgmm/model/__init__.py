"""The mathematics of Gaussian mixtures. It knows no rows, no files and no schedulers."""
