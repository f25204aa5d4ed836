"""The routes of all dialects."""

from __future__ import annotations

from inpainting.api import dialects

dialects.load()
urlpatterns = dialects.urlpatterns
