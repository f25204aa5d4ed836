"""Stable Diffusion and its kin, many generations at once on one device. The only room that knows torch."""
