"""Other services' HTTP APIs, one module each. Every module here but `base` registers its dialect when imported."""
