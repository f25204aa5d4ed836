"""Words for an image: by a captioning model of the catalog where one is installed, else a plain description."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np

from inpainting import families
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.image import CanonicalImage
from inpainting.families.declaration import CAPTIONS
from inpainting.networks.device.choice import or_on_cpu
from inpainting.networks.network_cache import network_cache

NO_MODEL = "colours"
"""In place of a model's name: the description was made from the colours alone."""
MAX_COLOURS = 2
MIN_SHARE = 0.15
"""The smallest share of the pixels: rarer colours are not named."""
HUES = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "red")
HUE_ENDS = (8, 22, 35, 80, 98, 128, 150, 172)
"""Upper ends of HUES in OpenCV's hues of 0 to 179."""
GREYS = ("black", "dark grey", "grey", "light grey", "white")


class CaptionStyle(StrEnum):
    PHOTO = "photo"
    ANIME = "anime"


BEGINNINGS = {CaptionStyle.PHOTO: "a photo", CaptionStyle.ANIME: "an anime drawing"}


@dataclass(frozen=True, slots=True)
class Caption:
    """text: for a prompt. captioner: the slug of the model, or NO_MODEL."""

    text: str
    captioner: str


@dataclass(frozen=True, slots=True)
class Captioner:
    """An installed captioning model."""

    spec: ModelSpec

    def loaded(self) -> Any:
        """The loaded model, as the family's `load` returns it. Raises EngineFailed where it cannot be loaded."""
        return network_cache.of(self.spec)

    def describe(self, image: CanonicalImage, style: CaptionStyle = CaptionStyle.PHOTO) -> Caption:
        """Raises EngineFailed. `loaded` first loads the model, where that is not to happen here."""
        implementation, pixels = families.get(self.spec.family).load_implementation(), to_rgb8(image)
        text = or_on_cpu(lambda: implementation.caption(self.loaded(), self.spec, pixels, BEGINNINGS[style]))
        return Caption(text, self.spec.slug)


def find_captioner(catalog: Catalog | None = None) -> Captioner | None:
    """The first installed captioning model; None without one."""
    rows = (catalog or Catalog()).tools(CAPTIONS) if find_spec("transformers") else []  # a light installation has none
    return next((Captioner(row.spec) for row in rows if row.is_installed), None)


def describe_colours(image: CanonicalImage, style: CaptionStyle = CaptionStyle.PHOTO) -> Caption:
    """Name the commonest colours: all that is certain without a model."""
    small = cv2.resize(to_rgb8(image), (64, 64), interpolation=cv2.INTER_AREA)
    hue, saturation, value = (channel.ravel() for channel in cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV)))
    is_grey = (saturation < 40) | (value < 40)
    greys = np.array(GREYS)[np.minimum(value // 52, len(GREYS) - 1)]
    names = np.where(is_grey, greys, np.array(HUES)[np.searchsorted(HUE_ENDS, hue)])
    found, counts = np.unique(names, return_counts=True)
    common = [
        str(found[index]) for index in np.argsort(-counts, kind="stable") if counts[index] >= MIN_SHARE * names.size
    ]
    colours = " and ".join(common[:MAX_COLOURS]) or "many colours"
    return Caption(f"{BEGINNINGS[style]} in {colours}", NO_MODEL)
