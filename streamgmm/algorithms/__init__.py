"""EM algorithms, one file each: a state and an update. They know nothing of where rows come from."""
