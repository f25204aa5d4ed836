"""Moderation: which regions the safety checker sees, what a request may ask of it, and how its findings are hidden."""
