"""Analyses: selections and descriptions that workers compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from inpainting.admin.large_lists import LargeListAdmin
from inpainting.generations.analyses import delete_analysis
from inpainting.models import Analysis


@admin.register(Analysis)
class AnalysisAdmin(LargeListAdmin):
    """Each analysis with its state and error. Its image is deleted at its end, so that there is none to review."""

    list_display = ("created_at", "owner", "task", "model", "status", "attempts", "finished_at", "error_code")
    list_filter = ("status", "task", "model", "created_at")
    list_select_related = ("owner",)
    search_fields = ("id", "owner__email", "request_id")
    readonly_fields = fields = (
        *("id", "owner", "task", "model", "service", "request_id", "width", "height"),
        *("status", "attempts", "worker", "created_at", "started_at", "finished_at", "expires_at"),
        *("error_code", "error_message", "is_refused"),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Analysis | None = None) -> bool:
        return False

    def get_deleted_objects(
        self, objs: Sequence[Analysis] | QuerySet[Analysis], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Delete the masks without asking; protect analyses that have not ended."""
        live = [f"{analysis}: {analysis.status}" for analysis in objs if not analysis.has_ended]
        return [str(analysis) for analysis in objs], {str(self.opts.verbose_name_plural): len(objs)}, set(), live

    def delete_model(self, request: HttpRequest, obj: Analysis) -> None:
        delete_analysis(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        for analysis in queryset:
            delete_analysis(analysis)
