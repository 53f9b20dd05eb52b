"""Compiled loops: the E-step, hash tables and local moments.

Sources, files and the M-step are not known here.
"""
