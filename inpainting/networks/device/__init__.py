"""The device that computes networks, and how: kernels, compilation, quantised weights."""
