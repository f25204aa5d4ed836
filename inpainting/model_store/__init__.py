"""How a model's files come onto the machine, and leave it."""
