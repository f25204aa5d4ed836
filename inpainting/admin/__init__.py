"""The pages of Django's admin, one module for each kind of row."""

from inpainting.admin import batches, catalog, generations, limits, webhooks

__all__ = ["batches", "catalog", "generations", "limits", "webhooks"]
