"""Answers about generations."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from inpainting.api.media.links import public_image_url
from inpainting.api.native.schemas.base import Answer, Constant, FreeObject, Link, Page, UtcDateTime
from inpainting.core.adapter_uses import CONDITIONING_IMAGES, IMAGE_LABELS
from inpainting.core.codecs.formats import PNG
from inpainting.core.settings_table import OUTPUT_FORMATS, SAFETY_TYPES
from inpainting.generations import description
from inpainting.models import GeneratedImage, Generation, Status
from inpainting.models.generation_request import INPUT_IMAGES
from inpainting.realtime.current_event import progress_event
from inpainting.worker.run_time_estimates import EXACT_POSITIONS, QueuePosition

PREVIEW = "Link to a WebP of at most 1600 pixels a side."
THUMBNAIL = "Link to a WebP of at most 384 pixels a side."
PARENT = "The generation that this one continues or runs again; null after that one was deleted."


class LoraUseDocument(Answer):
    slug = serializers.CharField()
    weight = serializers.FloatField()


class ControlUseDocument(Answer):
    slug = serializers.CharField()
    strength = serializers.FloatField()
    start = serializers.FloatField()
    end = serializers.FloatField()
    type = serializers.CharField(allow_null=True, help_text="Of a ControlNet-Union.")


class IPAdapterUseDocument(Answer):
    slug = serializers.CharField()
    scale = serializers.FloatField()


class Metadata(Answer):
    """Every resolved setting under its public name, and:"""

    prompt = serializers.CharField()
    negative_prompt = serializers.CharField()
    denoising_strength = serializers.FloatField()
    seed = serializers.IntegerField()
    width = serializers.IntegerField(help_text="Of the image and the result.")
    height = serializers.IntegerField()
    source_width = serializers.IntegerField(required=False, help_text="Outpainting: of the image as it was sent.")
    source_height = serializers.IntegerField(required=False)
    source_box = serializers.ListField(
        child=serializers.IntegerField(),
        required=False,
        help_text="Outpainting: left, top, right and bottom of the image in the result; scaled where its size differs.",
    )
    work_width = serializers.IntegerField(required=False, help_text="The requested width, at which the engine worked.")
    work_height = serializers.IntegerField(required=False)
    parent = serializers.UUIDField(  # type: ignore[assignment]
        allow_null=True, help_text=PARENT
    )
    service = serializers.CharField(help_text="The API that accepted it: native, or the name of a service.")
    engine = serializers.CharField()
    engine_reason = serializers.CharField(help_text="Why this engine was chosen.")
    requested = FreeObject(help_text="Engine and settings as sent, without defaults.")
    ignored = serializers.ListField(child=serializers.CharField(), help_text="Settings that the engine does not read.")
    ignored_fields = serializers.ListField(
        child=serializers.CharField(),
        help_text="Fields of the request without effect; in the native API those it lacks.",
    )
    warnings = serializers.ListField(child=serializers.CharField())
    seconds = serializers.FloatField(allow_null=True)
    loras = serializers.ListField(child=LoraUseDocument(), help_text="LoRAs and their weights.")
    controls = serializers.ListField(
        child=ControlUseDocument(), default=list, help_text="All ControlNets; control is the first."
    )
    ip_adapters = serializers.ListField(
        child=IPAdapterUseDocument(), default=list, help_text="All IP-Adapters; ip_adapter is the first."
    )
    safety_checker = serializers.BooleanField(required=False, help_text="Whether results are examined.")
    safety_checker_type = serializers.ChoiceField(
        SAFETY_TYPES, required=False, help_text="How a result with a finding is hidden."
    )
    nsfw_content_detected = serializers.ListField(
        child=serializers.BooleanField(),
        allow_null=True,
        help_text="For each result whether the safety checker found something; null where none was examined.",
    )
    embeddings = serializers.ListField(child=serializers.CharField(), help_text="Embeddings that the prompts may name.")
    vae = serializers.CharField(required=False, help_text="The VAE that replaced the model's own.")
    results = serializers.ListField(child=FreeObject(), help_text="The measurements on each result.")

    def get_fields(self) -> dict[str, serializers.Field]:
        of_stored = {
            f"{name}_sha256": serializers.CharField(required=False, help_text="Of the stored PNG.")
            for name in CONDITIONING_IMAGES
        }
        return {**super().get_fields(), **of_stored}

    def to_representation(self, instance: Generation) -> dict[str, Any]:
        values = description.metadata(instance)
        return {**values, **super().to_representation(values)}


class ComfyImage(Answer):
    filename = serializers.CharField()
    url = serializers.URLField()
    type = serializers.CharField()
    subfolder = serializers.CharField()

    def to_representation(self, url: str) -> dict[str, Any]:
        return {"filename": url.rpartition("/")[2], "url": url, "type": "output", "subfolder": ""}


class ComfyResponse(Answer):
    # Context: `urls`, the links of its results.
    prompt_id = serializers.UUIDField(source="pk")
    generated_images = ComfyImage(many=True)
    all_images = ComfyImage(many=True)

    def get_generated_images(self, generation: Generation) -> list[str]:
        urls: list[str] = self.context["urls"]
        return urls

    get_all_images = get_generated_images


@extend_schema_serializer(component_name="Painted")
class Img2ImgResult(Answer):
    """The keys of the published documentation, and those that the published front end reads."""

    status = Constant("success")
    message = serializers.CharField()
    id = serializers.UUIDField()
    images = serializers.ListField(child=serializers.URLField(), help_text="Signed links, valid for a day by default.")
    metadata = Metadata(source="*")
    comfy_response = ComfyResponse(source="*")
    workflow = FreeObject()
    run_id = serializers.CharField(allow_null=True)

    def get_message(self, generation: Generation) -> str:
        count = len(self.context["urls"])
        return "Image generated" if count == 1 else f"{count} images generated"

    def get_images(self, generation: Generation) -> list[str]:
        urls: list[str] = self.context["urls"]
        return urls

    def get_workflow(self, generation: Generation) -> dict[str, Any]:
        return {}

    def get_run_id(self, generation: Generation) -> None:
        return None


def img2img_result(generation: Generation, request: Any) -> dict[str, Any]:
    """request: whose host the links of the results have."""
    urls = [public_image_url(image, request) for image in generation.images.all()]
    return Img2ImgResult.render(generation, urls=urls)


class Received(Answer):
    status = Constant("received")


POSITION_IS_MINIMUM = (
    f"True where more than {EXACT_POSITIONS} generations wait before it: `position` and `eta` are at least that much."
    " Left out otherwise."
)


class QueueFields:
    # Values of the fields `position`, `position_is_minimum` and `eta`.
    def place_of(self, instance: Any) -> QueuePosition | None:
        raise NotImplementedError

    def get_position(self, instance: Any) -> int | None:
        place = self.place_of(instance)
        return None if place is None else place.position

    def get_position_is_minimum(self, instance: Any) -> bool | None:
        place = self.place_of(instance)
        return (place is not None and place.is_minimum) or None

    def get_eta(self, instance: Any) -> float | None:
        place = self.place_of(instance)
        return None if place is None else place.eta


class QueuePositionAnswer(QueueFields, Answer):
    # Context: `place`, the generation's place in the queue, or None.
    position = serializers.IntegerField(allow_null=True, min_value=1, help_text="1 starts next; null: not waiting.")
    position_is_minimum = serializers.BooleanField(required=False, help_text=POSITION_IS_MINIMUM)
    eta = serializers.FloatField(allow_null=True, help_text="Estimated seconds until it has been painted.")

    def place_of(self, instance: Any) -> QueuePosition | None:
        place: QueuePosition | None = self.context["place"]
        return place


class Pending(QueuePositionAnswer):
    status = Constant("processing")
    id = serializers.UUIDField()
    url = Link("generation-detail", help_text="URL that returns its state.")


class CopyDocument(Answer):
    format = serializers.ChoiceField([name for name in OUTPUT_FORMATS if name != PNG])
    quality = serializers.IntegerField()
    lossy = serializers.BooleanField(help_text="Always true: pixels outside of the mask may differ slightly.")
    sha256 = serializers.CharField()
    byte_count = serializers.IntegerField()


class GeneratedImageDocument(Answer):
    url = serializers.CharField()
    preview = serializers.CharField(help_text=PREVIEW)
    thumbnail = serializers.CharField(help_text=THUMBNAIL)
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    sha256 = serializers.CharField(help_text="Of the lossless PNG.")
    copy = CopyDocument(allow_null=True, help_text="The file in the requested output_format; null where that is png.")
    outside_mask_changed_pixels = serializers.IntegerField(help_text="Of the PNG.")
    seam_score = serializers.FloatField()
    nsfw_content_detected = serializers.BooleanField(allow_null=True, help_text="Null where it was not examined.")
    hidden_by = serializers.ChoiceField(
        SAFETY_TYPES, allow_null=True, help_text="How the result was hidden; null where it was not."
    )

    def get_url(self, image: GeneratedImage) -> str:
        return description.image_url(image)

    def get_preview(self, image: GeneratedImage) -> str:
        return f"{description.image_url(image)}preview/"

    def get_thumbnail(self, image: GeneratedImage) -> str:
        return f"{description.image_url(image)}thumbnail/"

    def get_copy(self, image: GeneratedImage) -> dict[str, Any] | None:
        copy: dict[str, Any] | None = image.report.get("copy")
        return copy

    def get_nsfw_content_detected(self, image: GeneratedImage) -> bool | None:
        found: bool | None = image.report.get("nsfw_content_detected")
        return found

    def get_hidden_by(self, image: GeneratedImage) -> str | None:
        how: str | None = image.report.get("hidden_by")
        return how


class ProgressDocument(Answer):
    type = Constant("progress")
    step = serializers.IntegerField()
    of = serializers.IntegerField()
    percent = serializers.IntegerField()
    seconds_left = serializers.FloatField(allow_null=True, help_text="Estimated.")


class ErrorDocument(Answer):
    code = serializers.CharField(source="error_code")
    message = serializers.CharField(source="error_message")


class GenerationDocument(Answer):
    # Some names are also DRF's. Its metaclass removes declared fields from the class, so they hide nothing.
    id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.values)
    engine = serializers.CharField()
    prompt = serializers.CharField()
    created_at = UtcDateTime()
    started_at = UtcDateTime(allow_null=True)
    finished_at = UtcDateTime(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    progress = ProgressDocument(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]
    source_preview = serializers.CharField(help_text=PREVIEW)
    source_thumbnail = serializers.CharField(help_text=THUMBNAIL)
    mask = serializers.CharField()
    mask_preview = serializers.CharField(help_text=PREVIEW)
    control_image = serializers.CharField(allow_null=True, help_text="Link to the stored conditioning image.")
    ip_adapter_image = serializers.CharField(allow_null=True, help_text="Link to the stored image prompt.")
    images = GeneratedImageDocument(many=True, source="images.all")
    error = ErrorDocument(allow_null=True)
    parent = serializers.UUIDField(  # type: ignore[assignment]
        source="parent_id", allow_null=True, help_text=PARENT
    )
    metadata = Metadata(source="*")

    def get_fields(self) -> dict[str, serializers.Field]:
        declared = super().get_fields()
        further = {
            name: serializers.CharField(required=False, help_text=f"Link to the stored {IMAGE_LABELS[name].lower()}.")
            for name in CONDITIONING_IMAGES
            if name not in declared
        }
        return {**declared, **further}

    def get_progress(self, generation: Generation) -> Any:
        return progress_event(generation)

    def value_of(self, field: serializers.Field, instance: Generation) -> Any:
        name = str(field.field_name)
        return description.input_url(instance, name) if name in INPUT_IMAGES else super().value_of(field, instance)

    def get_source_preview(self, generation: Generation) -> str | None:
        return description.preview_url(generation, "source")

    def get_source_thumbnail(self, generation: Generation) -> str:
        return f"{description.input_url(generation, 'source')}thumbnail/"

    def get_mask_preview(self, generation: Generation) -> str | None:
        return description.preview_url(generation, "mask")

    def get_error(self, generation: Generation) -> Generation | None:
        return generation if generation.error_code else None


class WholeGenerationDocument(GenerationDocument, QueuePositionAnswer):
    source_name = serializers.CharField(source="source.name", help_text="Name of the uploaded file; empty without one.")
    children = serializers.ListField(child=serializers.UUIDField())

    def get_children(self, generation: Generation) -> list[UUID]:
        return list(generation.children.order_by("created_at").values_list("pk", flat=True))


class PageDocument(Page):
    results = GenerationDocument(many=True)
