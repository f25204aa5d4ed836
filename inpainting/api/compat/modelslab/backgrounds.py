"""`image_editing/removebg_mask`: an image without its background, or the mask of its main object."""

from __future__ import annotations

from rest_framework.request import Request

from inpainting.api.compat.main_object import select_main_object, unpainted_request
from inpainting.api.compat.modelslab.body import NAME, BackgroundForm
from inpainting.core.backgrounds import cut_out
from inpainting.core.codecs import DecodedImage
from inpainting.core.image import CanonicalImage
from inpainting.core.mask_operations import smooth
from inpainting.core.request import InpaintRequest, PaintSettings

SMOOTHED_PIXELS = 2
"""By which `post_process_mask` rounds off the outline: the standard deviation of rembg, which the fields come from."""


def without_background(
    form: BackgroundForm, sent: DecodedImage, settings: PaintSettings, request: Request
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return the request whose result is the main object alone, or its mask, and warnings. Raises what
    `select_main_object` raises."""
    mask, segmenter = select_main_object(sent.image, request, service=NAME, soft_edges=form.alpha_matting)
    note = f"The segmenter {segmenter} found {'the main object' if mask.any() else 'no object'}."
    if form.post_process_mask:
        mask = smooth(mask, SMOOTHED_PIXELS)
    if form.inverse_mask:
        mask = 255 - mask
    result = CanonicalImage.of_mask(mask) if form.only_mask else cut_out(sent.image, mask)
    return unpainted_request(sent, result, settings), (*sent.warnings, note)
