"""The draft of the editor, as it is sent and answered."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from inpainting.accounting.limits import DRAFT_IMAGES
from inpainting.api.fields import Fields, NotBoolean
from inpainting.api.native.schemas.base import Answer
from inpainting.models import Draft

SHA256 = "[0-9a-f]{64}"
IMAGES = "SHA-256 of each file that the document names."


class DraftForm(Fields):
    """The draft that replaces the one of this revision."""

    revision: Annotated[int, Field(ge=0, le=2**53), NotBoolean] = Field(description="The one that was read; 0: none.")
    document: dict[str, Any] = Field(description="The editor's document: version, entries, cursor, settings, step.")
    pictures: Annotated[list[Annotated[str, Field(pattern=f"^{SHA256}$")]], Field(max_length=DRAFT_IMAGES)] = Field(
        description=IMAGES
    )


class SavedDraft(Answer):
    revision: int = Field(description="One more with every change.")
    saved_at: datetime | None


class DraftDocument(SavedDraft):
    document: dict[str, Any] | None = Field(description="null: there is none.")
    pictures: list[str] = Field(description=IMAGES)

    @classmethod
    def of(cls, draft: Draft) -> Self:
        return cls(
            revision=draft.revision,
            saved_at=draft.saved_at,
            document=json.loads(draft.document) if draft.document else None,
            pictures=list(draft.images.values_list("sha256", flat=True).order_by("sha256")) if draft.pk else [],
        )
