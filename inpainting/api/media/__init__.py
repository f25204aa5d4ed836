"""Signed links to results."""
