"""Signed links to images."""
