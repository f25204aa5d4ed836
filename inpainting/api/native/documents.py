"""What the schema says: the bodies of requests and answers, and how each operation is described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers

from inpainting.api.fields import ChangesForm, Img2ImgForm
from inpainting.catalog import families
from inpainting.catalog.specs import PART_LABELS, Control
from inpainting.core.settings_table import SAFETY_TYPES
from inpainting.models import Status

Described = TypeVar("Described", bound=Callable[..., Any])

MEANINGS = {
    400: "Something is wrong with what was sent; `field`, `limit` and `actual` say what.",
    401: "No key, or one that is not valid, expired or revoked.",
    403: "The key lacks the scope, or a page its CSRF token.",
    404: "Not there, or somebody else's.",
    409: "It does not fit the state of the generation.",
    410: "The file of this picture is gone.",
    413: "More bytes than are taken.",
    415: "A body of a type that is not read.",
    416: "The range lies beyond the picture.",
    422: "The same Idempotency-Key came with another request.",
    429: "Over a limit of this user; Retry-After says when it may be less.",
    500: "The painting failed.",
    503: "The server is busy with itself; Retry-After says when to try again.",
    507: "No space left on the server.",
}
ACCEPTING = (400, 409, 413, 415, 422, 429, 503, 507)
"""What may come of asking for a painting."""


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string"}]})
class NumberOrText(serializers.Field):
    pass


@extend_schema_field({"type": "object", "additionalProperties": True})
class Free(serializers.Field):
    """An object whose keys depend on the engine."""


class Problem(serializers.Serializer):
    """Every error."""

    status = serializers.ChoiceField(["error"])
    message = serializers.CharField(help_text="For people.")
    code = serializers.CharField(help_text="For programs; stable.")
    field = serializers.CharField(required=False, help_text="The field that is wrong.")
    limit = NumberOrText(required=False, help_text="What is allowed.")
    actual = NumberOrText(required=False, help_text="What was sent.")
    id = serializers.UUIDField(required=False, help_text="The generation that failed or was cancelled.")


CONTROL_IMAGE = "What a ControlNet for depth or scribble, or one for tile, is guided by; scaled to the picture."
WITHOUT_MASK = "Without one all of the picture is repainted, which takes a diffusion model."
IP_ADAPTER_IMAGE = "What an IP-Adapter looks at; of any size."


class Upload(Img2ImgForm):
    """Form fields and files. A text field `params` may hold them all as JSON; then numbers are clamped as in JSON."""

    image = serializers.FileField(help_text="PNG, JPEG, WebP or GIF, up to 32 MB; or as text, see JSON.")
    mask = serializers.FileField(
        required=False,
        help_text=f"PNG up to 10 MB: white is kept, black is repainted, unless mask_polarity. {WITHOUT_MASK}",
    )
    control_image = serializers.FileField(required=False, help_text=f"As image. {CONTROL_IMAGE}")
    ip_adapter_image = serializers.FileField(required=False, help_text=f"As image. {IP_ADAPTER_IMAGE}")


class Json(serializers.Serializer):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    input_image = serializers.CharField(help_text="Base64, a data URL, an http(s) URL, or a link of this site.")
    mask = serializers.CharField(required=False, help_text=f"PNG, as input_image. {WITHOUT_MASK}")
    control_image = serializers.CharField(required=False, help_text=f"As input_image. {CONTROL_IMAGE}")
    ip_adapter_image = serializers.CharField(required=False, help_text=f"As input_image. {IP_ADAPTER_IMAGE}")
    prompt = Img2ImgForm().fields["prompt"]


class ChangesUpload(ChangesForm):
    """Form fields and files; what is not sent stays as it was, and what is sent empty is taken back."""

    control_image = Upload().fields["control_image"]
    ip_adapter_image = Upload().fields["ip_adapter_image"]


class ChangesJson(ChangesForm):
    """The same fields as in the form; null takes back what was asked."""

    control_image = Json().fields["control_image"]
    ip_adapter_image = Json().fields["ip_adapter_image"]

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        for field in fields.values():
            field.allow_null = True
        return fields


class LoraUseDocument(serializers.Serializer):
    slug = serializers.CharField()
    weight = serializers.FloatField()


class Metadata(serializers.Serializer):
    """Every setting that was made, under its public name, and:"""

    prompt = serializers.CharField()
    negative_prompt = serializers.CharField()
    denoising_strength = serializers.FloatField()
    seed = serializers.IntegerField()
    width = serializers.IntegerField(help_text="The picture's and the result's.")
    height = serializers.IntegerField()
    work_width = serializers.IntegerField(required=False, help_text="The request's width: what the engine worked at.")
    work_height = serializers.IntegerField(required=False)
    engine = serializers.CharField()
    engine_reason = serializers.CharField(help_text="Why this engine paints.")
    requested = Free(help_text="Engine and settings as sent, without defaults.")
    ignored = serializers.ListField(child=serializers.CharField(), help_text="Settings that the engine does not read.")
    warnings = serializers.ListField(child=serializers.CharField())
    seconds = serializers.FloatField(allow_null=True)
    loras = serializers.ListField(child=LoraUseDocument(), help_text="LoRAs and their weights.")
    safety_checker = serializers.BooleanField(required=False, help_text="Whether results are looked at.")
    safety_checker_type = serializers.ChoiceField(SAFETY_TYPES, required=False, help_text="How a finding is hidden.")
    nsfw_content_detected = serializers.ListField(
        child=serializers.BooleanField(),
        allow_null=True,
        help_text="Of each result whether the safety checker found something; null where it has not looked.",
    )
    embeddings = serializers.ListField(child=serializers.CharField(), help_text="Embeddings that the prompts may name.")
    vae = serializers.CharField(required=False, help_text="What took the place of the model's own VAE.")
    control_image_sha256 = serializers.CharField(required=False, help_text="Of the kept PNG, where there is one.")
    ip_adapter_image_sha256 = serializers.CharField(required=False, help_text="Of the kept PNG, where there is one.")
    results = serializers.ListField(child=Free(), help_text="What was measured on each result.")


class ComfyImage(serializers.Serializer):
    filename = serializers.CharField()
    url = serializers.URLField()
    type = serializers.CharField()
    subfolder = serializers.CharField()


class ComfyResponse(serializers.Serializer):
    prompt_id = serializers.UUIDField()
    generated_images = ComfyImage(many=True)
    all_images = ComfyImage(many=True)


class Painted(serializers.Serializer):
    status = serializers.ChoiceField(["success"])
    message = serializers.CharField()
    id = serializers.UUIDField()
    images = serializers.ListField(child=serializers.URLField(), help_text="Signed links; they end after a day.")
    metadata = Metadata()
    comfy_response = ComfyResponse()
    workflow = Free()
    run_id = serializers.CharField(allow_null=True)


class Pending(serializers.Serializer):
    status = serializers.ChoiceField(["processing"])
    id = serializers.UUIDField()
    url = serializers.CharField(help_text="Ask here how it goes.")
    position = serializers.IntegerField(allow_null=True, min_value=1, help_text="1 starts next.")
    eta = serializers.FloatField(allow_null=True, help_text="Seconds until it is painted, as far as we can tell.")


class Received(serializers.Serializer):
    status = serializers.ChoiceField(["received"])


class Foreseen(serializers.Serializer):
    status = serializers.ChoiceField(["success"])
    engine = serializers.CharField()
    engine_reason = serializers.CharField(help_text="Why this engine would paint.")
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    mode = serializers.ChoiceField(["L", "LA", "RGB", "RGBA"])
    bits = serializers.ChoiceField([8, 16])
    mask = serializers.CharField(help_text="Data URL of a PNG: white is repainted.")
    coverage = serializers.FloatField(min_value=0, max_value=1)
    window = serializers.ListField(child=serializers.IntegerField(), help_text="Left, top, right, bottom.")
    work_size = serializers.ListField(child=serializers.IntegerField(), help_text="Width, height.")
    estimate_seconds = serializers.FloatField(allow_null=True)
    ignored = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())


class GeneratedImageDocument(serializers.Serializer):
    url = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    sha256 = serializers.CharField()
    outside_mask_changed_pixels = serializers.IntegerField()
    seam_score = serializers.FloatField()
    nsfw_content_detected = serializers.BooleanField(allow_null=True, help_text="Null where no checker has looked.")
    hidden_by = serializers.ChoiceField(
        SAFETY_TYPES, allow_null=True, help_text="How what was painted was hidden; null where it was not."
    )


class ProgressDocument(serializers.Serializer):
    type = serializers.ChoiceField(["progress"])
    step = serializers.IntegerField()
    of = serializers.IntegerField()
    percent = serializers.IntegerField()
    seconds_left = serializers.FloatField(allow_null=True, help_text="As far as we can tell.")


class ErrorDocument(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()


class GenerationDocument(serializers.Serializer):
    # Some names are DRF's too, but its metaclass takes these fields away before they could hide anything.
    id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.values)
    engine = serializers.CharField()
    prompt = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    progress = ProgressDocument(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]
    mask = serializers.CharField()
    control_image = serializers.CharField(allow_null=True, help_text="What guides it, as we keep it.")
    ip_adapter_image = serializers.CharField(allow_null=True, help_text="What it looks at, as we keep it.")
    images = GeneratedImageDocument(many=True)
    error = ErrorDocument(allow_null=True)
    parent = serializers.UUIDField(allow_null=True, help_text="It ran again as this.")  # type: ignore[assignment]
    metadata = Metadata()


class WholeGenerationDocument(GenerationDocument):
    position = serializers.IntegerField(allow_null=True, min_value=1)
    eta = serializers.FloatField(allow_null=True)
    children = serializers.ListField(child=serializers.UUIDField())


class PageDocument(serializers.Serializer):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = GenerationDocument(many=True)


class EngineDocument(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    is_default = serializers.BooleanField()
    accepts_prompt = serializers.BooleanField()
    ignores = serializers.ListField(child=serializers.CharField())
    unavailable = serializers.CharField(allow_null=True, help_text="What is missing before it can paint.")


class EnginesDocument(serializers.Serializer):
    status = serializers.ChoiceField(["success"])
    engines = EngineDocument(many=True)


class ModelDefaultsDocument(serializers.Serializer):
    steps = serializers.IntegerField()
    guidance_scale = serializers.FloatField()
    scheduler = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()


class ModelDocument(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    filename = serializers.CharField(help_text="The id again, for clients that send it back as model_name.")
    family = serializers.ChoiceField(families.generating())
    installed = serializers.BooleanField(help_text="Whether it can paint now; an administrator gets the others.")
    licence = serializers.CharField()
    aliases = serializers.ListField(child=serializers.CharField())
    defaults = ModelDefaultsDocument()


class FewStepsDocument(serializers.Serializer):
    steps = serializers.IntegerField()
    guidance_scale = serializers.FloatField()
    scheduler = serializers.CharField()


class LoraDocument(serializers.Serializer):
    slug = serializers.CharField(help_text="What a request's loras name.")
    name = serializers.CharField()
    family = serializers.ChoiceField(families.with_loras(), help_text="Of the models that it changes.")
    kind = serializers.ChoiceField(["style", "lcm", "lightning", "hyper"])
    trigger = serializers.CharField(help_text="Words that a prompt must hold for it to work.")
    licence = serializers.CharField()
    defaults = FewStepsDocument(allow_null=True, help_text="Used in place of the model's own; of one for few steps.")


class PartDocument(serializers.Serializer):
    slug = serializers.CharField(help_text="What a request's setting names.")
    name = serializers.CharField()
    kind = serializers.ChoiceField([kind.value for kind in PART_LABELS], help_text="What it is for.")
    family = serializers.ChoiceField(families.generating(), help_text="Of the models that it is for.")
    control = serializers.ChoiceField(
        [control.value for control in Control], allow_null=True, help_text="What a ControlNet looks at."
    )
    licence = serializers.CharField()


class ModelsDocument(serializers.Serializer):
    status = serializers.ChoiceField(["success"])
    models = ModelDocument(many=True)
    loras = LoraDocument(many=True)
    parts = PartDocument(many=True)


class CountsDocument(serializers.Serializer):
    queued = serializers.IntegerField()
    running = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    total = serializers.IntegerField()


class LimitsDocument(serializers.Serializer):
    waiting = serializers.IntegerField(allow_null=True)
    per_minute = serializers.IntegerField(allow_null=True)
    per_day = serializers.IntegerField(allow_null=True)
    megapixels_per_day = serializers.IntegerField(allow_null=True)
    stored_megabytes = serializers.IntegerField(allow_null=True)


class SpentDocument(serializers.Serializer):
    per_minute = serializers.IntegerField(help_text="Generations accepted in the last minute.")
    per_day = serializers.IntegerField(help_text="Generations accepted in the last 24 hours.")
    megapixels_per_day = serializers.IntegerField(help_text="Of their pictures, rounded up.")


class UsageDocument(serializers.Serializer):
    status = serializers.ChoiceField(["success"])
    generations = CountsDocument()
    stored_bytes = serializers.IntegerField()
    spent = SpentDocument()
    limits = LimitsDocument()


SIGNED_IN: list[dict[str, list[str]]] = [{"bearerKey": []}, {"headerKey": []}, {"session": []}]
CHANGES = {"multipart/form-data": ChangesUpload, "application/json": ChangesJson}
IMG2IMG = {"multipart/form-data": Upload, "application/json": Json}
HOW_LONG = OpenApiParameter(
    "Prefer", str, OpenApiParameter.HEADER,
    description="respond-async: answer 202 at once. wait=N: wait N seconds at most. Neither: wait to the end.",
)  # fmt: skip
KEY = OpenApiParameter(
    "Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER, description="The same key with the same request is the same generation.",
)  # fmt: skip
DOWNLOAD = OpenApiParameter("download", str, description="There at all: as a download, with a file name.")
PICTURE = {
    (200, "image/png"): OpenApiTypes.BINARY,
    (206, "image/png"): OpenApiTypes.BINARY,
    304: OpenApiResponse(description="The client has it: see ETag."),
}
THUMBNAIL = {
    (200, "image/webp"): OpenApiTypes.BINARY,
    (206, "image/webp"): OpenApiTypes.BINARY,
    304: OpenApiResponse(description="The client has it: see ETag."),
}


def documented(
    summary: str,
    answers: Mapping[Any, Any],
    *,
    problems: Iterable[int] = (),
    request: Any = None,
    parameters: Sequence[Any] = (),
    name: str | None = None,
    is_public: bool = False,
) -> Callable[[Described], Described]:
    """Describe an operation: its good answers, and the statuses of its problems beside those of signing in.

    name: its operationId, where the path does not make a good one.
    """
    statuses = sorted({*problems, *(() if is_public else (401, 403))})
    return extend_schema(
        operation_id=name,
        summary=summary,
        auth=cast("list[str]", [] if is_public else SIGNED_IN),
        request=request,
        parameters=list(parameters),
        responses={**answers, **{code: OpenApiResponse(Problem, MEANINGS[code]) for code in statuses}},
    )
