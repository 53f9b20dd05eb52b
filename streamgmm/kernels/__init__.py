"""Compiled loops: the E-step, hash tables and local moments; and the E-step in plain NumPy, to test against.

Sources, files and the M-step are not known here.
"""
