"""`POST /api/masks/operations/`: change a mask, combine masks, convert them between formats."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.images import SentImage
from inpainting.api.native.bodies import read_body
from inpainting.api.native.mask_answers import answer
from inpainting.api.native.mask_objects import budget_of_request, mask_of_object
from inpainting.api.native.schemas.mask_operations import MASK_OPERATIONS, OperationsForm
from inpainting.api.native.schemas.masks import ChangedMask
from inpainting.api.native.sent_masks import read_mask
from inpainting.api.openapi import READING, documented
from inpainting.api.views import AnyBodyView
from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import Mask
from inpainting.core.mask_formats import MaskBudget
from inpainting.core.masks import MaskPolarity
from inpainting.core.sentences import sentence


class MaskOperations(AnyBodyView):
    """Applies operations in their order and returns the mask in the requested format. Stores nothing."""

    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Change, combine or convert masks",
        {200: ChangedMask},
        problems=(*READING, 429, 503),
        request=MASK_OPERATIONS,
        name="mask_operations_create",
    )
    def post(self, request: Request) -> Response:
        body = read_body(request)
        form = OperationsForm.read({**body.fields, **body.files})
        budget = budget_of_request()
        with limit_segmentations(request.user):
            mask = self.read("mask", form.mask, form.mask_polarity, budget)
            for index, (operation, sent) in enumerate(form.operations):
                place = f"operations[{index}].mask"
                other = self.read(place, sent, form.mask_polarity, budget) if operation.combines else None
                with computing(request.user):
                    mask = operation.apply(mask, other)
            with computing(request.user):
                return Response(ChangedMask.render(answer(mask, form.format)))

    def read(self, field: str, sent: Any, polarity: MaskPolarity, budget: MaskBudget) -> Mask:
        """A mask in any of the formats. budget: of all masks of the request.

        Raises InvalidRequest, and what `read_image` raises.
        """
        if isinstance(sent, dict):
            with computing(self.request.user):
                return mask_of_object(sent, field, budget)
        if not isinstance(sent, UploadedFile | str):
            message = sentence(
                "{field} must be a PNG file, base64, a data URL, a URL, an id, run lengths or outlines.", field=field
            )
            raise InvalidRequest(message, code="field_missing" if sent is None else "field_invalid", field=field)
        read = read_mask(SentImage(field, sent), self.request, polarity)
        image = read.decoded.image
        budget.spend("pixels", image.size.area)
        return masks.normalise(image, polarity=read.polarity, size=image.size)
