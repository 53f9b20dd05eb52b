"""Labels and probabilities on disk, which can be resumed where they were stopped."""
