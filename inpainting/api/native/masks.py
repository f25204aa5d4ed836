"""`POST /api/masks/`: select an object by points on it or a box around it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.concurrency_limits import limit_segmentations
from inpainting.api.native.bodies import Body, read_body
from inpainting.api.native.mask_objects import encode_mask
from inpainting.api.native.schemas.masks import MASKS, MaskForm, SelectedMask
from inpainting.api.openapi import READING, documented
from inpainting.api.pictures import IMAGE, SentPicture, read_picture
from inpainting.api.views import AnyBodyView
from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.picture import Mask
from inpainting.segmenters import registry
from inpainting.segmenters.base import Hint, Selection, candidates_of

BY_ID = {"source": "generation-source", "picture": "draft-picture"}
"""Fields with the id of a picture of the user, and the routes of these pictures."""

# Each computes for up to a few seconds, so that workers and other requests keep a processor.
computing = threading.BoundedSemaphore(max(1, (os.cpu_count() or 2) // 2))


class Masks(AnyBodyView):
    """Takes a picture and where the object is. Stores nothing."""

    required_scope = Scope.GENERATE
    takes_pictures = True

    @documented(
        "Select an object", {200: SelectedMask}, problems=(*READING, 429, 503), request=MASKS, name="masks_create"
    )
    def post(self, request: Request) -> Response:
        body = read_body(request)
        form = MaskForm(data=body.fields)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        segmenter = registry.find(values.get("segmenter", registry.DEFAULT))
        selection = Selection(**{name: values[name] for name in Hint if name in values})
        selection.check_for(segmenter)
        with limit_segmentations(request.user):
            picture = read_picture(sent_image(body, values), IMAGE, request).picture
            with computing:
                mask = candidates_of(segmenter, picture, selection)[0].mask
                values = {**answer(mask, values["format"]), "segmenter": segmenter.name}
            return Response(SelectedMask.render(values))


def sent_image(body: Body, values: Mapping[str, Any]) -> SentPicture:
    """The field `image`, or the picture whose id is sent. Raises InvalidRequest unless exactly one of them is sent."""
    image = body.picture("image")
    named = [SentPicture(name, reverse(route, args=[values[name]])) for name, route in BY_ID.items() if name in values]
    sent = [*named, *([] if image is None else [image])]
    if len(sent) != 1:
        raise InvalidRequest("Send one of image, source and picture.", code="field_missing", field="image")
    return sent[0]


def answer(mask: Mask, form: str) -> dict[str, Any]:
    """The values of an answer with a mask in this format, a MaskFormat."""
    box = masks.bounds(mask)
    return {
        "mask": encode_mask(mask, form),
        "box": None if box is None else [box.left, box.top, box.right, box.bottom],
        "area": int(np.count_nonzero(mask)),
        "width": mask.shape[1],
        "height": mask.shape[0],
    }
