"""Mixtures of several sizes and families that learn from the same readings, and how they compare."""
