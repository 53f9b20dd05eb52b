"""The mathematics of Gaussian mixtures: parameters, statistics, the M-step, covariance families, criteria, drift.

Rows, files and schedulers are not known here.
"""
