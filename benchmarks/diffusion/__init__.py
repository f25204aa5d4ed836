"""The diffusion engine compared with plain diffusers pipelines, in one run: see `__main__`."""
