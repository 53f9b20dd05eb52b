"""Passes over the rows of a source: in which order, in what pieces, by whom, and what they can be known by."""
