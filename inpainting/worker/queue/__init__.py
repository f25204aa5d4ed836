"""What waits: in which order it starts, whether this process may start it, and how much of it there is."""
