"""The draft of the editor, as it is sent and answered."""

from __future__ import annotations

import json
from typing import Any

from rest_framework import serializers

from inpainting.accounting.limits import DRAFT_IMAGES
from inpainting.api.native.schemas.base import Answer, FreeObject, UtcDateTime
from inpainting.models import Draft

SHA256 = "[0-9a-f]{64}"
IMAGES = "SHA-256 of each file that the document names."


class DraftForm(serializers.Serializer):
    """The draft that replaces the one of this revision."""

    revision = serializers.IntegerField(min_value=0, max_value=2**53, help_text="The one that was read; 0: none.")
    document = serializers.DictField(help_text="The editor's document: version, entries, cursor, settings, step.")
    pictures = serializers.ListField(
        child=serializers.RegexField(f"^{SHA256}$"), max_length=DRAFT_IMAGES, help_text=IMAGES
    )


class SavedDraft(Answer):
    revision = serializers.IntegerField(help_text="One more with every change.")
    saved_at = UtcDateTime(allow_null=True)


class DraftDocument(SavedDraft):
    document = FreeObject(allow_null=True, help_text="null: there is none.")
    pictures = serializers.ListField(child=serializers.CharField(), help_text=IMAGES)

    def get_document(self, draft: Draft) -> dict[str, Any] | None:
        return json.loads(draft.document) if draft.document else None

    def get_pictures(self, draft: Draft) -> list[str]:
        return list(draft.images.values_list("sha256", flat=True).order_by("sha256")) if draft.pk else []
