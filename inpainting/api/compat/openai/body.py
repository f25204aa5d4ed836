"""The fields and files of OpenAI's image requests. Numbers and booleans of a form are texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from django.http import QueryDict
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from rest_framework.request import Request

from inpainting.api.fields import Fields, Integer, Range, StoredText
from inpainting.api.setting_types import Prompt
from inpainting.core.geometry import Size
from inpainting.core.masks import MaskPolarity
from inpainting.core.settings_table import RANGES

IMAGE_FIELD = re.compile(r"image(\[\d*\])?")
"""A client sends one image as `image` or `image[]`, several as `image[]` or `image[0]`, `image[1]`."""
LOWEST_SIDE, HIGHEST_SIDE = map(int, RANGES["width"])


def check_size(text: str) -> str:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if text != "auto" and not (found and all(LOWEST_SIDE <= int(side) <= HIGHEST_SIDE for side in found.groups())):
        message = f"It must be auto, or WIDTHxHEIGHT with sides of {LOWEST_SIDE} to {HIGHEST_SIDE} pixels."
        raise PydanticCustomError("size", message)
    return text


class ImageForm(Fields):
    """The fields that have an effect, after those that were sent empty or as null are dropped."""

    prompt: Prompt
    model: Annotated[StoredText, Field(max_length=200)] = "auto"
    n: Annotated[Integer, Range(*RANGES["num_images"])] = 1
    size: Annotated[str, AfterValidator(check_size)] = "auto"
    quality: Literal["auto", "low", "medium", "high", "standard", "hd"] = "auto"
    background: Literal["auto", "opaque", "transparent"] = "auto"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Annotated[Integer, Range(0, 100)] = 100
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool = False
    partial_images: Annotated[Integer, Range(0, 3)] = 0
    mask_polarity: MaskPolarity = MaskPolarity.TRANSPARENT_REPAINTS
    """Our own, for masks without alpha."""

    @property
    def pixels(self) -> Size | None:
        """The requested size; None for `auto`."""
        return None if self.size == "auto" else Size(*map(int, self.size.split("x")))


def read_parts(request: Request) -> tuple[Mapping[str, Any], Sequence[Any]]:
    """Return the fields that were sent, of a repeated one the last value, and the source images."""
    data: Any = request.data
    lists = dict(data.lists()) if isinstance(data, QueryDict) else {name: [value] for name, value in data.items()}
    empty = {name: (None,) if name == "prompt" else (None, "") for name in lists}
    sent = {name: [value for value in values if value not in empty[name]] for name, values in lists.items()}
    images = [image for name in sent if IMAGE_FIELD.fullmatch(name) for image in sent[name]]
    fields = {name: values[-1] for name, values in sent.items() if values and not IMAGE_FIELD.fullmatch(name)}
    return fields, images
