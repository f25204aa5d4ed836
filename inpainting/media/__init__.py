"""Serving image files over HTTP: ranges, ETags, streaming, archives. Shared by the API, the pages and the admin."""
