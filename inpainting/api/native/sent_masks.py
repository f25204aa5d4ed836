"""Masks as requests send them: a PNG, the id of a mask that `POST /api/masks/` found, or what is to be selected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from rest_framework.request import Request

from inpainting.api.images import MASK, SentImage, read_image
from inpainting.api.native.selections import selection_of
from inpainting.api.selecting import needs_worker, select_in
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import MaskPolarity
from inpainting.core.sentences import sentence
from inpainting.generations.uploads import find_mask
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
    """Select what the fields of a SelectionForm describe, in this thread.

    Raises InvalidRequest (`selection_needs_worker` where only a worker can, `mask_empty` where nothing is found), and
    what `select_in` raises.
    """
    segmenter, selection = registry.find(values.get("segmenter", registry.DEFAULT)), selection_of(values)
    selection.check_for(segmenter)
    if needs_worker(segmenter):
        raise InvalidRequest(
            sentence(
                "{segmenter} selects in a worker here: send the image to POST /api/masks/, then the id of its answer "
                "as mask.",
                segmenter=segmenter.name,
            ),
            code="selection_needs_worker",
            field="select",
        )
    best = select_in(segmenter, selection, lambda: image, request, lambda candidates: candidates[0].mask)
    if not best.any():
        raise InvalidRequest(sentence("No object was found there."), code="mask_empty", field="select")
    return SentMask(DecodedImage(CanonicalImage(best[:, :, np.newaxis]), "PNG"), MaskPolarity.WHITE_REPAINTS)
