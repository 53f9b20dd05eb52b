"""How fast, how small: an asv suite, and programs that measure streamgmm beside its peers. Nothing here is a test."""
