"""Property tests draw the same examples in every run; HYPOTHESIS_PROFILE=search looks for new ones."""

import os
import signal

from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would its tests

settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=30)
settings.register_profile("search", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
