"""Segment NASA's Blue Marble out of core: the demonstration that ``streamgmm demo`` runs."""
