"""Image to larger image: one module for each upscaler that needs no model, and `networks/` for those of the catalog."""
