"""Masks as requests send them: a PNG, or the id of a mask that `POST /api/masks/` found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from rest_framework.request import Request

from inpainting.api.images import MASK, SentImage, read_image
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.generations.uploads import find_mask

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentMask:
    """A decoded mask, and how it is to be read."""

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
        f"{sent.field}: you have no mask with this id, or it has expired.", code="mask_not_found", field=sent.field
    )
