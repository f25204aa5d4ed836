"""The admin pages, one module for each group of models."""

from inpainting.admin import analyses, audit, batches, catalog, generations, limits, webhooks
from inpainting.admin.names import translate_names

__all__ = ["analyses", "audit", "batches", "catalog", "generations", "limits", "webhooks"]

translate_names()
