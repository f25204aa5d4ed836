"""The native API: `/api/` and signed links."""
