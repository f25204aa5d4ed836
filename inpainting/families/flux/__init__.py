"""FLUX.1: what its families share. It registers no family itself."""
