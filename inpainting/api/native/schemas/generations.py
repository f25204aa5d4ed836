"""Answers about generations."""

from __future__ import annotations

from datetime import datetime
from types import GenericAlias
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints
from uuid import UUID

from django.urls import reverse
from pydantic import Field, create_model

from inpainting.api.fields import extended_by
from inpainting.api.media.links import public_image_url
from inpainting.api.native.schemas.base import Answer, Optional, Page, Success, optional
from inpainting.core.adapter_uses import CONDITIONING_IMAGES, IMAGE_LABELS, ListEntry, LoraUse
from inpainting.core.credentials import Verb
from inpainting.core.request import PaintSettings
from inpainting.core.setting import Setting, ValueType
from inpainting.core.settings_table import SETTINGS
from inpainting.generations import description
from inpainting.models import Analysis, GeneratedImage, Generation, Status
from inpainting.realtime.current_event import progress_event
from inpainting.translation import translated
from inpainting.worker.run_time_estimates import EXACT_POSITIONS, QueuePosition

PREVIEW = "Link to a WebP of at most 1600 pixels a side."
THUMBNAIL = "Link to a WebP of at most 384 pixels a side."
PARENT = "The generation that this one continues or runs again; null after that one was deleted."
SCORE = (
    "How plausible the painted area is beside its surroundings: 0 to 1, higher is better. Compare it among the results "
    "of one generation. Null where diffusion has painted it, nothing was painted, or too little is kept for comparing."
)
SOURCE_BOX = "Outpainting: left, top, right and bottom of the image in the result; scaled where its size differs."


def type_of_value(row: Setting) -> Any:
    """The type of a resolved setting in an answer."""
    hint = get_type_hints(PaintSettings)[row.name]
    if row.type not in (ValueType.LORAS, ValueType.ADAPTERS, ValueType.REGIONS):
        return hint
    return GenericAlias(list, (type_of_entry(get_args(hint)[0]),))


def type_of_entry(use: type[LoraUse | ListEntry]) -> type[Answer]:
    """The type of an entry of a setting that is a list."""
    fields: dict[str, Any] = {name: (kind, ...) for name, kind in get_type_hints(use).items() if name != "SETTING"}
    if "loras" in fields:
        fields["loras"] = optional(GenericAlias(list, (type_of_entry(LoraUse),)), "Left out where it has none.")
    return create_model(f"{use.__name__}Document", __base__=Answer, **fields)


DECLARED = ("prompt", "negative_prompt", "strength", "seed", "width", "height")
"""The settings that every metadata have, or whose names have another meaning there."""


@extended_by(
    {row.public_name: optional(type_of_value(row), row.help) for row in SETTINGS if row.name not in DECLARED}
    | {f"{name}_sha256": optional(str, "Of the stored PNG.") for name in CONDITIONING_IMAGES}
)
class Metadata(Answer):
    """The resolved settings, the reasons for them, and the measurements on the results."""

    prompt: str
    negative_prompt: str
    denoising_strength: float
    seed: int
    width: int = Field(description="Of the image and the result.")
    height: int
    source_width: Optional[int] = Field(None, description="Outpainting and upscaling: of the image as it was sent.")
    source_height: Optional[int] = None
    upscaler: Optional[str] = Field(None, description="Upscaling: what enlarged the image.")
    source_box: Optional[list[int]] = Field(None, description=SOURCE_BOX)
    work_width: Optional[int] = Field(None, description="The requested width, at which the engine worked.")
    work_height: Optional[int] = None
    verb: Verb = Field(description="What was done to the photo.")
    parent: UUID | None = Field(description=PARENT)
    service: str = Field(description="The API that accepted it: native, or the name of a service.")
    engine: str
    engine_reason: str = Field(description="Why this engine was chosen.")
    requested: dict[str, Any] = Field(description="Engine and settings as sent, without defaults.")
    ignored: list[str] = Field(description="Settings that the engine does not read.")
    ignored_fields: list[str] = Field(
        description="Fields of the request without effect; in the native API those it lacks."
    )
    warnings: list[str]
    seconds: float | None
    nsfw_content_detected: list[bool] | None = Field(
        description="For each result whether the safety checker found something; null where none was examined."
    )
    results: list[dict[str, Any]] = Field(description="The measurements on each result.")


class ComfyImage(Answer):
    filename: str
    url: str
    type: str = "output"
    subfolder: str = ""


class ComfyResponse(Answer):
    prompt_id: UUID
    generated_images: list[ComfyImage]
    all_images: list[ComfyImage]


class Painted(Success):
    """The keys of the published documentation, and those that the published front end reads."""

    message: str
    id: UUID
    images: list[str] = Field(description="Signed links, valid for a day by default.")
    metadata: Metadata
    comfy_response: ComfyResponse
    workflow: dict[str, Any]
    run_id: str | None

    @classmethod
    def of(cls, generation: Generation, request: Any) -> Self:
        """request: whose host the links of the results have."""
        urls = [public_image_url(image, request) for image in generation.images.all()]
        images = [ComfyImage(filename=url.rpartition("/")[2], url=url) for url in urls]
        return cls(
            message="Image generated" if len(urls) == 1 else f"{len(urls)} images generated",
            id=generation.pk,
            images=urls,
            metadata=Metadata.model_validate(description.metadata(generation)),
            comfy_response=ComfyResponse(prompt_id=generation.pk, generated_images=images, all_images=images),
            workflow={},
            run_id=None,
        )


class Received(Answer):
    status: Literal["received"] = "received"


class Place(Answer):
    """A place in the queue."""

    position: Annotated[int, Field(ge=1)] | None = Field(description="1 starts next; null: not waiting.")
    position_is_minimum: Optional[bool] = Field(
        None,
        description=f"True where more than {EXACT_POSITIONS} generations wait before it: `position` and `eta` are at "
        "least that much. Left out otherwise.",
    )
    eta: float | None = Field(description="Estimated seconds until it has been painted.")

    @staticmethod
    def values(place: QueuePosition | None) -> dict[str, Any]:
        """place: None where it is not waiting."""
        if place is None:
            return {"position": None, "eta": None}
        return {"position": place.position, "position_is_minimum": place.is_minimum or None, "eta": place.eta}


class Pending(Place):
    status: Literal["processing"] = "processing"
    id: UUID
    url: str = Field(description="URL that returns its state.")

    @classmethod
    def of(cls, generation: Generation, place: QueuePosition | None) -> Self:
        return cls(id=generation.pk, url=reverse("generation-detail", args=[generation.pk]), **Place.values(place))


class CopyDocument(Answer):
    format: str
    quality: int
    lossy: bool = Field(description="Always true: pixels outside of the mask may differ slightly.")
    sha256: str
    byte_count: int


class GeneratedImageDocument(Answer):
    url: str
    preview: str = Field(description=PREVIEW)
    thumbnail: str = Field(description=THUMBNAIL)
    width: int
    height: int
    sha256: str = Field(description="Of the lossless PNG.")
    copied: CopyDocument | None = Field(
        serialization_alias="copy", description="The file in the requested output_format; null where that is png."
    )
    outside_mask_changed_pixels: int = Field(description="Of the PNG.")
    seam_score: float
    score: float | None = Field(description=SCORE)
    digital_source_type: str = Field(description="How it came to be: the address of a term of IPTC's vocabulary.")
    nsfw_content_detected: bool | None = Field(description="Null where it was not examined.")
    hidden_by: str | None = Field(description="How the result was hidden; null where it was not.")

    @classmethod
    def of(cls, image: GeneratedImage) -> Self:
        url = description.image_url(image)
        return cls(
            url=url,
            preview=f"{url}preview/",
            thumbnail=f"{url}thumbnail/",
            width=image.width,
            height=image.height,
            sha256=image.sha256,
            copied=image.report.get("copy"),
            outside_mask_changed_pixels=image.outside_mask_changed_pixels,
            seam_score=image.seam_score,
            score=image.score,
            digital_source_type=image.source_type.address,
            nsfw_content_detected=image.report.get("nsfw_content_detected"),
            hidden_by=image.report.get("hidden_by"),
        )


class ProgressDocument(Answer):
    type: Literal["progress"]
    step: int
    of: int
    percent: int
    seconds_left: float | None = Field(description="Estimated.")


class ErrorDocument(Answer):
    code: str
    message: str

    @classmethod
    def of(cls, row: Generation | Analysis) -> Self | None:
        if not row.error_code:
            return None
        message = (
            description.message_of(row, row.error_message)
            if isinstance(row, Generation)
            else translated(row.error_message)
        )
        return cls(code=row.error_code, message=message)


ALWAYS_LISTED = ("control_image", "ip_adapter_image")


@extended_by(
    {
        name: optional(str, f"Link to the stored {IMAGE_LABELS[name].lower()}.")
        for name in CONDITIONING_IMAGES
        if name not in ALWAYS_LISTED
    }
)
class GenerationDocument(Answer):
    id: UUID
    status: Status
    engine: str
    prompt: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    progress: ProgressDocument | None
    source: str | None
    source_preview: str | None = Field(description=PREVIEW)
    source_thumbnail: str = Field(description=THUMBNAIL)
    mask: str | None
    mask_preview: str | None = Field(description=PREVIEW)
    control_image: str | None = Field(description="Link to the stored conditioning image.")
    ip_adapter_image: str | None = Field(description="Link to the stored image prompt.")
    images: list[GeneratedImageDocument] = Field(description="In the order of their seeds.")
    error: ErrorDocument | None
    parent: UUID | None = Field(description=PARENT)
    metadata: Metadata

    @classmethod
    def of(cls, generation: Generation, **others: Any) -> Self:
        links: dict[str, Any] = {
            name: description.input_url(generation, name) for name in ("source", "mask", *CONDITIONING_IMAGES)
        }
        return cls(
            id=generation.pk,
            status=Status(generation.status),
            engine=generation.engine,
            prompt=generation.prompt,
            created_at=generation.created_at,
            started_at=generation.started_at,
            finished_at=generation.finished_at,
            seconds=generation.seconds,
            source_preview=description.preview_url(generation, "source"),
            source_thumbnail=f"{links['source']}thumbnail/",
            mask_preview=description.preview_url(generation, "mask"),
            images=[GeneratedImageDocument.of(image) for image in generation.images.all()],
            error=ErrorDocument.of(generation),
            parent=generation.parent_id,
            metadata=Metadata.model_validate(description.metadata(generation)),
            **{**links, **others, "progress": progress_event(generation)},
        )


class WholeGenerationDocument(GenerationDocument, Place):
    source_name: str = Field(description="Name of the uploaded file; empty without one.")
    children: list[UUID]

    @classmethod
    def of(cls, generation: Generation, **others: Any) -> Self:
        """place: in the queue."""
        place: QueuePosition | None = others.pop("place")
        return super().of(
            generation,
            source_name=generation.source.name,
            children=list(generation.children.order_by("created_at").values_list("pk", flat=True)),
            **Place.values(place),
        )


class PageDocument(Page[GenerationDocument]):
    pass
