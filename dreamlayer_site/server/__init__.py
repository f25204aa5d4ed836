"""The HTTP server of `serve`: Daphne with limits of connections, heads and bodies, and its parent process."""
