"""The answers about masks that were found: in the request, or by a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from django.urls import reverse
from rest_framework.request import Request

from inpainting.api.analyses import candidates_found_by, pixels_of
from inpainting.api.native.mask_objects import MaskFormat, encode_mask
from inpainting.api.native.schemas.masks import FoundMask, SelectedMask
from inpainting.core import masks
from inpainting.core.image import Mask
from inpainting.models import Analysis, UploadedImage
from inpainting.segmenters.base import Candidate


def selection_values(candidates: Sequence[Candidate], segmenter: str, form: str) -> dict[str, Any]:
    """The values of a SelectedMask that is not stored: of the first candidate, and the others beside it."""
    best, *others = ({**answer(candidate.mask, form), "score": candidate.score} for candidate in candidates)
    return {**best, "segmenter": segmenter, "candidates": others}


def answer(mask: Mask, form: str) -> dict[str, Any]:
    """The values of an answer with a mask in this format, a MaskFormat."""
    box = masks.bounds(mask)
    return {
        "mask": encode_mask(mask, form),
        "box": None if box is None else box.to_list(),
        "area": int(np.count_nonzero(mask)),
        "width": mask.shape[1],
        "height": mask.shape[0],
    }


def selected_mask(values: Mapping[str, Any], stored: UploadedImage | None, request: Request) -> SelectedMask:
    """The answer about a mask. values: of `selection_values`. stored: the mask, where it is stored."""
    about = {} if stored is None else dict(FoundMask.of(stored, request))
    return SelectedMask.model_validate({**about, **values})


def location(stored: UploadedImage | None) -> dict[str, str]:
    return {} if stored is None else {"Location": reverse("mask", args=[stored.pk])}


def stored_candidate(stored: UploadedImage) -> Candidate:
    """The mask that was found earlier, with its score. Raises ImageGone."""
    return Candidate(pixels_of(stored), (stored.found or {}).get("score"))


def masks_found_by(analysis: Analysis, request: Request) -> SelectedMask:
    """The answer about the masks of an analysis that has succeeded. Raises ImageGone."""
    return selected_mask(
        selection_values(candidates_found_by(analysis), analysis.model, analysis.options.get("format", MaskFormat.PNG)),
        analysis.mask,
        request,
    )
