"""The route of signed links that end in a file name, for all services.

Its folders are those of ModelsLab (`generations`), Deep-Image (`images` with a date) and the Fooocus API (`outputs`
with a date, `inputs`).
"""

from __future__ import annotations

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from inpainting.api.media.named_images import get_named_image, nothing_here


class Folder(StringConverter):
    regex = r"generations|inputs|(?:images|outputs)/\d{4}-\d{2}-\d{2}"


class ImageName(StringConverter):
    regex = r"[^/]+\.(?:png|jpe?g|webp)"


register_converter(Folder, "folder")
register_converter(ImageName, "image_name")
urlpatterns = [
    path("<folder:folder>/<str:token>/<image_name:name>", get_named_image, name="named-image"),
    re_path("^(?:outputs|inputs)/", nothing_here),
]
