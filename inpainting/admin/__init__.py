"""The admin pages, one module for each group of models."""

from inpainting.admin import batches, catalog, generations, limits, webhooks

__all__ = ["batches", "catalog", "generations", "limits", "webhooks"]
