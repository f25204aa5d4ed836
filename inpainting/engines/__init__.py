"""The inpainting engines, and the plans that they execute."""
