"""Durable files: atomic writes, a self-verifying container, a codec and a store of generations. It knows no mixtures."""
