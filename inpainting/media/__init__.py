"""Serving picture files over HTTP: ranges, ETags, streaming. Shared by the API, the pages and the admin."""
