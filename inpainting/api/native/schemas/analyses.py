"""Answers about analyses."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from inpainting.api.native.mask_answers import masks_found_by
from inpainting.api.native.schemas.base import Answer, Constant, Link, UtcDateTime
from inpainting.api.native.schemas.masks import SelectedMask
from inpainting.models import Analysis, Status
from inpainting.models.analysis import Task


class PendingAnalysis(Answer):
    status = Constant("processing")
    id = serializers.UUIDField()
    url = Link("analysis", help_text="URL that returns its state; the same as Location.")


class AnalysisError(Answer):
    code = serializers.CharField(source="error_code")
    message = serializers.CharField(source="error_message")


class FoundSelection(SelectedMask):
    """As the answer of a request that waits."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        rendered: dict[str, Any] = instance
        return rendered


class AnalysisDocument(Answer):
    # Context: `request`.
    id = serializers.UUIDField()
    url = Link("analysis")
    status = serializers.ChoiceField(Status.values)
    task = serializers.ChoiceField(Task.values)
    created_at = UtcDateTime()
    finished_at = UtcDateTime(allow_null=True)
    expires_at = UtcDateTime(help_text="When it is deleted with what it has found.")
    error = AnalysisError(allow_null=True)
    selection = FoundSelection(required=False, help_text="What was found, once a selection has succeeded.")
    caption = serializers.CharField(required=False, help_text="The description, once it has been written.")

    def get_error(self, analysis: Analysis) -> Analysis | None:
        return analysis if analysis.error_code else None

    def get_selection(self, analysis: Analysis) -> dict[str, Any] | None:
        if analysis.status != Status.SUCCEEDED or analysis.task != Task.SEGMENT:
            return None
        return masks_found_by(analysis, self.context["request"])

    def get_caption(self, analysis: Analysis) -> str | None:
        return analysis.caption or None
