"""Answers about analyses."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from django.urls import reverse
from pydantic import Field
from rest_framework.request import Request

from inpainting.api.native.mask_answers import masks_found_by
from inpainting.api.native.schemas.base import Answer, Optional
from inpainting.api.native.schemas.generations import ErrorDocument
from inpainting.api.native.schemas.masks import SelectedMask
from inpainting.models import Analysis, Status
from inpainting.models.analysis import Task


class PendingAnalysis(Answer):
    status: Literal["processing"] = "processing"
    id: UUID
    url: str = Field(description="URL that returns its state; the same as Location.")

    @classmethod
    def of(cls, analysis: Analysis) -> Self:
        return cls(id=analysis.pk, url=reverse("analysis", args=[analysis.pk]))


class AnalysisDocument(Answer):
    id: UUID
    url: str
    status: Status
    task: Task
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime = Field(description="When it is deleted with what it has found.")
    error: ErrorDocument | None
    selection: Optional[SelectedMask] = Field(None, description="What was found, once a selection has succeeded.")
    caption: Optional[str] = Field(None, description="The description, once it has been written.")

    @classmethod
    def of(cls, analysis: Analysis, request: Request) -> Self:
        has_selection = analysis.status == Status.SUCCEEDED and analysis.task == Task.SEGMENT
        return cls(
            id=analysis.pk,
            url=reverse("analysis", args=[analysis.pk]),
            status=Status(analysis.status),
            task=Task(analysis.task),
            created_at=analysis.created_at,
            finished_at=analysis.finished_at,
            expires_at=analysis.expires_at,
            error=ErrorDocument.of(analysis),
            selection=masks_found_by(analysis, request) if has_selection else None,
            caption=analysis.caption or None,
        )
