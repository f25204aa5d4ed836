"""The diffusion engine compared with plain diffusers pipelines, in one run: see `__main__`."""

from benchmarks import bare_settings as bare_settings  # before the engine reads settings
