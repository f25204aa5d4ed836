"""Rough completions, which a labelling follows where they can be trusted."""
