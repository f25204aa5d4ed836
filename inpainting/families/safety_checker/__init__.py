"""The Stable Diffusion safety checker."""
