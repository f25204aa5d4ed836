"""The admin pages, one module for each group of models."""

from inpainting.admin import analyses, audit, batches, catalog, generations, limits, webhooks

__all__ = ["analyses", "audit", "batches", "catalog", "generations", "limits", "webhooks"]
