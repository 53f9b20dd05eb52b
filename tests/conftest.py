"""Property tests draw the same examples in every run; HYPOTHESIS_PROFILE=search looks for new ones."""

import os
import signal

if "PYTEST_XDIST_WORKER" in os.environ:  # those share the processors, on which threads that wait for each other spin
    for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy is loaded
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would its tests

settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=30)
settings.register_profile("search", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
