"""Durable files: atomic writes, self-verifying container, codec, store of generations. It knows nothing of mixtures."""
