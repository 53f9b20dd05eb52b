"""The one EM loop and what consumes its events: stopping rules, trajectories and history."""
