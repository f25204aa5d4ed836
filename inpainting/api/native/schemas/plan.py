"""The body and the answer of `POST /api/plan/`."""

from __future__ import annotations

from rest_framework import serializers

from inpainting.api.native.fields import ChangesForm
from inpainting.api.native.schemas.base import Answer, Constant, FreeObject, NullIsEmpty


class PlanForm(ChangesForm):
    models = serializers.DictField(
        child=serializers.CharField(max_length=200, min_length=1, trim_whitespace=False),
        required=False,
        help_text="Engine -> the model to use if that engine is chosen and `model` is not sent.",
    )


class PlanJson(NullIsEmpty):
    """The settings of POST /api/img2img; numbers outside their range are clamped, with a warning."""

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
