"""Signed links to pictures."""
