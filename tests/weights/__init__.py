"""Networks that package registries hold: a table of their files, the command that fetches them, and tests with them."""
