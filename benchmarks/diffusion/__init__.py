"""The diffusion engine beside plain diffusers pipelines, in one run: see `__main__`."""
