"""Rows that arrive: what a stream keeps of them, what it has seen, and what may be revised."""
