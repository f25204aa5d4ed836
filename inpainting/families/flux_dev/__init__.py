"""FLUX.1 [dev], Krea and [schnell]."""
