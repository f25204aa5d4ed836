"""Signed links to results, and ZIP archives of them."""
