"""The answer of a dry run."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from inpainting.api.native.schemas.base import Answer, Constant
from inpainting.api.native.schemas.generations import Metadata


@extend_schema_serializer(component_name="Foreseen")
class DryRunResult(Answer):
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
