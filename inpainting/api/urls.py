"""The routes of all dialects, and of the images that they link to."""

from __future__ import annotations

from django.urls import include, path

from inpainting.api import dialects

dialects.load()
urlpatterns = [path("", include("inpainting.api.media.urls")), path("", include(dialects.urlpatterns))]
