"""The body and the answers of `POST /api/plan/`."""

from __future__ import annotations

from rest_framework import serializers

from inpainting.api.native.fields import ChangesForm
from inpainting.api.native.schemas.base import Answer, Constant, FreeObject, NullIsEmpty
from inpainting.api.native.schemas.bodies import ImageTexts, Json
from inpainting.api.native.schemas.generations import Metadata


class PlanForm(ChangesForm):
    models = serializers.DictField(
        child=serializers.CharField(max_length=200, min_length=1, trim_whitespace=False),
        required=False,
        help_text="Engine -> the model to use if that engine is chosen and `model` is not sent.",
    )


class PlanJson(NullIsEmpty, ImageTexts):
    """The fields of POST /api/img2img; numbers outside their range are clamped, with a warning."""

    input_image = serializers.CharField(
        required=False, help_text="As of POST /api/img2img. Without: only the settings."
    )
    mask = Json().fields["mask"]

    prompt = PlanForm().fields["prompt"]
    engine = PlanForm().fields["engine"]
    models = PlanForm().fields["models"]


class FormOfferAnswer(Answer):
    """The choices of a settings form. With the engine auto, those that apply once there is a prompt."""

    engine = serializers.CharField()
    ignored = FreeObject(help_text="Setting -> why it has no effect.")
    defaults = FreeObject(help_text="Setting -> the value that is used where none is sent.")
    limits = FreeObject(help_text="Setting -> lowest and highest number, where the model narrows them.")
    choices = FreeObject(help_text="Setting -> the names that the model takes.")
    adapters = FreeObject(help_text="Setting -> slugs of the installed adapters that fit the model.")
    reads_prompt_weights = serializers.BooleanField(help_text="Whether (words:1.3) in a prompt count more.")
    hint = serializers.CharField(help_text="How a prompt would change what auto chooses; may be empty.")


class PlanAnswer(Answer):
    status = Constant("success")
    engine = serializers.CharField()
    engine_label = serializers.CharField()
    engine_reason = serializers.CharField(help_text="Why this engine would be chosen.")
    model = serializers.CharField(allow_null=True)
    resolved = FreeObject(help_text="Every setting with its default filled in.")
    ignored = FreeObject(help_text="Setting -> why it has no effect.")
    warnings = serializers.ListField(child=serializers.CharField())
    problems = FreeObject(help_text="Setting -> why it does not fit the others; it was left out of this plan.")
    form = FormOfferAnswer()


class ImagePlanAnswer(Answer):
    """The plan of a request with images."""

    status = Constant("success")
    engine = serializers.CharField()
    engine_reason = serializers.CharField(help_text="Why this engine would be chosen.")
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    source_width = Metadata().fields["source_width"]
    source_height = Metadata().fields["source_height"]
    source_box = Metadata().fields["source_box"]
    mode = serializers.ChoiceField(["L", "LA", "RGB", "RGBA"])
    bits = serializers.ChoiceField([8, 16])
    mask = serializers.CharField(help_text="Data URL of a PNG of the effective mask: white is repainted.")
    quality = serializers.IntegerField(allow_null=True, help_text="Of the result files; null where they are PNG.")
    coverage = serializers.FloatField(min_value=0, max_value=1)
    window = serializers.ListField(child=serializers.IntegerField(), help_text="Left, top, right, bottom.")
    work_size = serializers.ListField(child=serializers.IntegerField(), help_text="Width, height.")
    estimate_seconds = serializers.FloatField(allow_null=True)
    ignored = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())
