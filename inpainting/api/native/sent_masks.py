"""Masks as requests send them: a PNG, the id of a mask that `POST /api/masks/` found, or what is to be selected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rest_framework.request import Request

from inpainting.api.images import MASK, SentImage, read_image
from inpainting.api.native.selections import selection_of
from inpainting.api.selecting import select_at_once
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest, as_field
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import MaskPolarity
from inpainting.core.sentences import sentence
from inpainting.generations.uploads import find_mask
from inpainting.models.generation_request import NATIVE
from inpainting.segmenters import registry

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentMask:
    """A mask, and how it is to be read."""

    decoded: DecodedImage
    polarity: MaskPolarity


def read_mask(sent: SentImage, request: Request, polarity: MaskPolarity) -> SentMask:
    """Read a mask. polarity: of a PNG; what a mask selects that is named by its id is always repainted.

    Raises InvalidRequest (`mask_not_found`) unless the user has a mask with this id, and what `read_image` raises.
    """
    if not isinstance(sent.value, str) or not ID.fullmatch(sent.value.strip()):
        return SentMask(read_image(sent, MASK, request), polarity)
    found = find_mask(request.user, UUID(sent.value.strip()))
    try:
        if found is not None:
            return SentMask(DecodedImage(found.read(), "PNG"), MaskPolarity.WHITE_REPAINTS)
    except FileNotFoundError:
        pass
    raise InvalidRequest(
        sentence("{field}: you have no mask with this id, or it has expired.", field=sent.field),
        code="mask_not_found",
        field=sent.field,
    )


def select_mask(values: Mapping[str, Any], image: CanonicalImage, request: Request) -> SentMask:
    """Select what the fields of a SelectionForm describe.

    Raises InvalidRequest (`mask_empty` where nothing is found), and what `select_at_once` raises.
    """
    with as_field("select"):
        segmenter, selection = registry.find(values.get("segmenter", registry.DEFAULT)), selection_of(values)
        selection.check_for(segmenter)
        best = select_at_once(segmenter, selection, image, request, service=NATIVE).mask
        if not best.any():
            raise InvalidRequest(sentence("No object was found there."), code="mask_empty")
    return SentMask(DecodedImage.of_mask(best), MaskPolarity.WHITE_REPAINTS)
