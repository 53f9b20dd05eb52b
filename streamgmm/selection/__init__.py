"""select(): how many components, and of which family."""
