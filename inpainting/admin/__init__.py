"""The admin pages, one module for each group of models."""

from inpainting.admin import audit, batches, catalog, generations, limits, webhooks

__all__ = ["audit", "batches", "catalog", "generations", "limits", "webhooks"]
