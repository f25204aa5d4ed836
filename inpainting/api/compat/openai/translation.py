"""A request of OpenAI's image API -> `InpaintRequest`: an edit, or text-to-image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rest_framework.request import Request

from inpainting import families
from inpainting.api.compat.openai.body import ImageForm, read_parts
from inpainting.api.dialect import blank_request, build_scaled_request, closest_model, shown_names, size_of_model
from inpainting.api.images import NAMED_MASK, SentImage, read_field
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.core.codecs.formats import PNG
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import RANGES
from inpainting.generations.submit import Submission

NAME = "openai"
OWN_MODELS = re.compile(r"auto|(chat)?gpt-image.*|dall-e-[23]")
"""The service's own models, for which the server chooses one. A model here may have such a name as an alias."""
find_model = partial(closest_model, service=NAME, field="model", server_choice=OWN_MODELS)
GPT_MODELS = re.compile(r"(chat)?gpt-image.*")
"""Those whose images are base64 unless `response_format` is sent."""
STEP_SHARES = {"low": 0.5, "high": 1.5, "hd": 1.5}
"""Quality -> the share of the model's own number of steps."""
QUALITIES = {"auto": "medium", "standard": "medium", "hd": "high"}
"""The quality that a response names, where it is not the one that was sent."""
NO_ALPHA = (
    "The mask has no alpha channel, and its transparent pixels are those that are edited. Send a PNG with alpha; or, "
    "if white pixels are to be edited, the field mask_polarity with white_repaints; if black ones, with black_repaints."
)


def read_request(
    request: Request, *, model: str | None, is_edit: bool, digest: str
) -> tuple[InpaintRequest, Submission]:
    """Read and check the fields, then the images. Raises InvalidRequest.

    model: the name in the path, where it has one. digest: of the body, by which a repeated request is recognised.
    """
    fields, images = read_parts(request)
    form, catalog = ImageForm.read({"model": model, **fields} if model else fields), Catalog()
    choices: list[str] = []
    slug = find_model(catalog, form.model, warnings=choices)
    row = catalog.chosen_row(slug)
    settings = PaintSettings(
        prompt=form.prompt,
        num_images=form.n,
        output_format=form.output_format,
        quality=None if form.output_format == PNG else max(1, form.output_compression),
        steps=steps_for(form.quality, row),
        model=slug,
    )
    if is_edit:
        inpaint_request, warnings = edit_request(form, fields, images, row, settings, request)
    else:
        inpaint_request, warnings = blank_request(form.pixels or size_of_model(row), settings)
    background = "transparent" if inpaint_request.image.has_alpha else "opaque"
    response_format = form.response_format or ("b64_json" if GPT_MODELS.fullmatch(form.model) else "url")
    return inpaint_request, Submission(
        source_name=SentImage("image", images[0]).name if is_edit else "",
        warnings=(*choices, *warnings),
        sent_fields=tuple(fields),
        ignored_fields=ignored_fields(fields, images, form, background=background, is_edit=is_edit),
        service_data={
            "is_edit": is_edit,
            "is_inline": response_format == "b64_json",
            "background": background,
            "quality": QUALITIES.get(form.quality, form.quality),
            "previews": form.partial_images if form.stream else None,
            "body": digest,
        },
        catalog=catalog,
    )


def steps_for(quality: str, row: InferenceModel | None) -> int | None:
    """Return the number of steps for a quality; None for the model's own."""
    if row is None or quality not in STEP_SHARES:
        return None
    return min(max(1, round(row.steps * STEP_SHARES[quality])), int(RANGES["steps"][1]))


def edit_request(
    form: ImageForm,
    fields: Mapping[str, Any],
    images: Sequence[Any],
    row: InferenceModel | None,
    settings: PaintSettings,
    request: Request,
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return the request for the first image. Without a mask, its own transparency is the mask; without any, the prompt
    is an instruction, which models of some families follow."""
    if not images:
        raise InvalidRequest("Missing required parameter: 'image'.", code="field_missing", field="image")
    image = read_field("image", images[0], request)
    mask, polarity = None, form.mask_polarity
    if "mask" in fields:
        mask = read_field("mask", fields["mask"], request, role=NAMED_MASK)
        if mask.image.size != image.image.size:
            message = f"The mask is {mask.image.size} and the image {image.image.size}; they must have the same size."
            raise InvalidRequest(message, code="mask_size_mismatch", field="mask")
        if polarity is MaskPolarity.TRANSPARENT_REPAINTS and mask.image.alpha is None:
            raise InvalidRequest(NO_ALPHA, code="mask_has_no_alpha", field="mask", actual=mask.image.mode)
    elif not image.image.is_opaque:
        polarity = MaskPolarity.TRANSPARENT_IMAGE_REPAINTS
    elif row is None or not families.get(row.family).edits:
        message = "mask is required by the installed models: none of them edits an image by words alone."
        raise InvalidRequest(message, code="mask_required", field="mask")
    return build_scaled_request(image, mask, settings, form.pixels or image.image.size, polarity=polarity)


def ignored_fields(
    fields: Mapping[str, Any], images: Sequence[Any], form: ImageForm, *, background: str, is_edit: bool
) -> tuple[str, ...]:
    """Return the names of what was sent without an effect, beside the fields of settings that the engine ignores."""
    known = {*ImageForm.model_fields, "mask"} if is_edit else ImageForm.model_fields.keys() - {"mask_polarity"}
    without_effect = {
        "background": form.background not in ("auto", background),
        "partial_images": form.partial_images > 0 and not form.stream,
        "further_images": is_edit and len(images) > 1,
        "image": not is_edit and bool(images),
    }
    names = [name for name in fields if name not in known] + [name for name, is_so in without_effect.items() if is_so]
    return shown_names(names)
