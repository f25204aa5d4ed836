"""The request of a generation: its columns, and how they are made from an `InpaintRequest` and back."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
from django.conf import settings
from django.db import models

from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.errors import InvalidImage
from inpainting.core.geometry import Placement, Size, Window
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.core.setting import UPSCALE
from inpainting.engines.base import Plan
from inpainting.models.images import Mask, ReferenceImage, SourceImage, StoredImage, content_digest
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

JOINED_IMAGES = ("source", "mask")
"""The input images that queries of generations join. They prefetch the conditioning images."""
INPUT_IMAGES = (*JOINED_IMAGES, *CONDITIONING_IMAGES)
"""The names of the input images that a generation may have."""
NATIVE = "native"
"""The native API, the pages and the command line, as a value of `service`."""
UNIT_COST = 1_000_000
"""The cost of a generation whose plan is not known."""
SharedImages = dict[tuple[str, str], ReferenceImage]
"""Stored conditioning images of one owner, by their names in the request and their content hash."""


@dataclasses.dataclass(frozen=True, slots=True)
class RequestedSettings:
    """The request as sent: an engine's name or "auto", and the fields of PaintSettings that were given."""

    engine: str
    settings: Mapping[str, Any]


def plan_columns(plan: Plan) -> dict[str, Any]:
    """Return the columns that hold a plan; the mask is the stored one, grown and faded as the settings say."""
    return {
        "engine": plan.engine.name,
        "engine_reason": plan.reason,
        "settings": plan.settings.to_dict(),
        "ignored": sorted(plan.ignored),
        "window": plan.window.to_dict(),
    }


class GenerationRequest(models.Model):
    """The columns of a generation that never change but for stepping down to another engine."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="generations")
    source = models.ForeignKey(SourceImage, on_delete=models.RESTRICT, related_name="generations")
    mask = models.ForeignKey(Mask, on_delete=models.RESTRICT, related_name="generations")
    parent = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="children",
        help_text="the generation that this one continues or runs again",
    )
    root = models.UUIDField(
        null=True, editable=False, help_text="id of the first generation of its edit tree; empty: it is the first"
    )
    engine = models.CharField(max_length=40)
    engine_reason = models.CharField(max_length=300, blank=True, help_text="why this engine was chosen")
    settings = models.JSONField(help_text="the fields of PaintSettings")
    requested = models.JSONField(
        default=dict, help_text="engine and settings as sent; empty: the same as the resolved ones"
    )
    folded_prompt = models.TextField(
        null=True, editable=False, help_text="for searches: without case and accents; empty: not yet folded"
    )
    folded_name = models.TextField(null=True, editable=False, help_text="the same of the name of the file")
    ignored = models.JSONField(default=list, help_text="settings without effect")
    placement = models.JSONField(
        default=dict,
        help_text="outpainting: the image's size as sent, and where it lies in `source`, the whole canvas",
    )
    window = models.JSONField(
        null=True, editable=False, help_text="the part of the image that the engine gets, as planned; empty: not known"
    )
    enlargement = models.JSONField(
        null=True,
        editable=False,
        help_text="of an image that is enlarged before it is painted: `upscaler`, and `width` and `height` of the "
        "result; empty: of others",
    )
    painted_pixels = models.PositiveBigIntegerField(default=0, help_text="number of pixels that the mask marks")
    cost = models.PositiveBigIntegerField(
        default=UNIT_COST, editable=False, help_text="its share of the owner's turn: pixels x images x steps"
    )
    warnings = models.JSONField(default=list)
    sentences = models.JSONField(
        null=True, editable=False, help_text="templates and values of its messages, by their English texts"
    )
    webhook_url = models.CharField(max_length=MAX_URL_CHARACTERS, blank=True, help_text="called when it has ended")
    service = models.CharField(max_length=20, default=NATIVE, help_text="name of the dialect that accepted it")
    ignored_fields = models.JSONField(default=list, help_text="fields of the service's request without effect")
    sent_fields = models.JSONField(default=list, help_text="fields of the service's request that set a setting")
    service_data = models.JSONField(default=dict, help_text="values that later responses of the service contain")

    class Meta:
        abstract = True

    # Factories

    @classmethod
    def from_request(
        cls,
        request: InpaintRequest,
        *,
        owner: Any,
        requested: RequestedSettings | None = None,
        source_name: str = "",
        warnings: Sequence[str] = (),
        shared: SharedImages | None = None,
        **columns: Any,
    ) -> Self:
        """Write the images to storage and return the unsaved generation; see `save_new`.

        shared: conditioning images to reuse instead of writing them again; new ones are added to it.
        columns: values of other columns, by name, such as those of `plan_columns`.
        """
        images, enlarged = request.conditioning_images, request.enlarged_to
        keys = {} if shared is None else {name: (name, content_digest(image)) for name, image in images.items()}
        references = {name: shared[key] for name, key in keys.items() if shared and key in shared}
        with ExitStack() as undo:  # if one cannot be written, delete the others
            source = SourceImage.from_image(owner, request.image, name=source_name, metadata=request.kept_metadata)
            undo.callback(source.delete_files)
            mask = Mask.from_pixels(owner, request.mask)
            undo.callback(mask.delete_files)
            for name in [name for name in images if name not in references]:
                references[name] = ReferenceImage.from_image(owner, images[name])
                undo.callback(references[name].delete_files)
            undo.pop_all()
        if shared is None:  # the items of a batch wait for too long
            source.keep_decoded(request.image)
            mask.keep_decoded(CanonicalImage.of_mask(request.mask))
            for name, image in images.items():
                references[name].keep_decoded(image)
        else:
            shared.update({keys[name]: image for name, image in references.items()})
        generation = cls(
            owner=owner,
            source=source,
            mask=mask,
            requested={} if requested is None else dataclasses.asdict(requested),
            placement={} if request.placement is None else request.placement.to_dict(),
            enlargement=None
            if enlarged is None or not request.upscaler
            else {"upscaler": request.upscaler, "width": enlarged.width, "height": enlarged.height},
            painted_pixels=int(np.count_nonzero(request.mask)) if enlarged is None else enlarged.area,
            warnings=list(warnings),
            **{"settings": request.settings.to_dict(), **columns},
        )
        generation.references = references
        return generation

    def copy_for_rerun(self) -> Self:
        """Return an unsaved child with the same request and the same images; see `save_new`."""
        names = {field.name for field in GenerationRequest._meta.local_fields} - {"id", "parent"}
        child = type(self)(**{name: getattr(self, name) for name in names}, parent=self)
        child.references = self.references
        return child

    def to_request(
        self, settings: PaintSettings | None = None, references: Mapping[str, CanonicalImage | None] | None = None
    ) -> InpaintRequest:
        """Rebuild the request from the stored images.

        settings, references: replace the stored ones.
        references: by their names in the request; None removes one.
        Raises InvalidImage, `image_gone`, where a file is gone.
        """
        sent = dict(references or {})
        try:
            kept = {n: stored.read_once() for n, stored in self.references.items() if n not in sent}
            image, mask = self.source.read_once(), self.mask.read_kept_pixels()
        except FileNotFoundError as error:
            raise self.image_gone() from error
        placement = Placement.from_dict(self.placement, image.size) if self.placement else None
        images = {name: conditioning for name, conditioning in {**kept, **sent}.items() if conditioning is not None}
        return InpaintRequest(
            image,
            mask,
            settings or self.paint_settings,
            images,
            placement,
            enlarged_to=self.enlarged_to,
            upscaler=self.enlargement["upscaler"] if self.enlargement else "",
        )

    @staticmethod
    def image_gone() -> InvalidImage:
        """Return the error for a file of a generation that is no longer in storage."""
        return InvalidImage(
            sentence("An image of this generation is gone; send it again."), code="image_gone", field="image"
        )

    # Properties

    @functools.cached_property
    def references(self) -> dict[str, ReferenceImage]:
        """The conditioning images, by their names in the request. `save_new` stores those of an unsaved generation."""
        rows: Any = self.conditioning_images  # type: ignore[attr-defined]  # a relation of the concrete class
        return {row.name: row.image for row in rows.all()}

    @property
    def inputs(self) -> dict[str, StoredImage]:
        """All input images by name: `source`, `mask`, and the conditioning images."""
        return {"source": self.source, "mask": self.mask, **self.references}

    @property
    def planned_window(self) -> Window | None:
        """The window that was planned when the request was accepted; None where none was stored."""
        return Window.from_dict(self.window) if self.window else None

    @property
    def enlarged_to(self) -> Size | None:
        """The size of the result of an upscaling, with detail or without; None where an image is painted at its
        size."""
        if self.enlargement:
            return Size(self.enlargement["width"], self.enlargement["height"])
        window = self.planned_window if self.engine == UPSCALE else None
        return None if window is None else window.work

    @property
    def upscaler(self) -> str:
        """The name of what enlarges the image; "" where it is not enlarged."""
        if self.enlargement:
            return str(self.enlargement["upscaler"])
        return str(self.settings["model"]) if self.engine == UPSCALE else ""

    @property
    def result_size(self) -> Size:
        return self.enlarged_to or Size(self.source.width, self.source.height)

    @property
    def paint_settings(self) -> PaintSettings:
        return PaintSettings.from_dict(self.settings)

    @property
    def requested_settings(self) -> RequestedSettings:
        """The settings as sent, without defaults, for running again. Not validated: limits may have changed."""
        return RequestedSettings(**self.requested) if self.requested else RequestedSettings(self.engine, self.settings)

    @property
    def prompt(self) -> str:
        return str(self.settings["prompt"])
