"""How each family of models encodes, predicts and decodes."""
