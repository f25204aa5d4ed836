"""How each family of models encodes prompts, starts a sample and predicts."""
