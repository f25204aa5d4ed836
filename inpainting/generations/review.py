"""The review by administrators: verdicts and deletions, each with an entry in the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.audit import Action
from accounts.models import AuditEntry
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.generations.delete import delete
from inpainting.models import GeneratedImage, Generation, Verdict

MAX_NOTE_CHARACTERS = 1_000
MAX_GENERATIONS = 500
"""Generations that one call changes."""


def give_verdict(pks: Iterable[UUID], verdict: Verdict, *, note: str, by: Any) -> int:
    """Give generations a verdict. Returns their number; deleted ones are left out.

    A removed generation is cancelled if it has not ended. Raises InvalidRequest for a removal without a reason, and for
    a longer note than MAX_NOTE_CHARACTERS.
    """
    if verdict == Verdict.REMOVED and not note:
        raise InvalidRequest(sentence("Give the reason: the owner reads it in place of the images."), field="note")
    if len(note) > MAX_NOTE_CHARACTERS:
        raise InvalidRequest(
            sentence(
                "The note has {count} characters; at most {max_note_characters} are allowed.",
                count=len(note),
                max_note_characters=MAX_NOTE_CHARACTERS,
            ),
            field="note",
            limit=MAX_NOTE_CHARACTERS,
            actual=len(note),
        )
    reviewed = 0
    with transaction.atomic():
        # Locked in the order of the keys, so that two calls cannot wait for each other.
        for generation in Generation.objects.select_for_update(no_key=True).filter(pk__in=list(pks)).order_by("pk"):
            before = {"verdict": generation.verdict, "note": generation.review_note}
            generation.review(verdict, note=note, by=by)
            if verdict == Verdict.REMOVED:
                generation.cancel()
            after = {"verdict": str(verdict), "note": note}
            AuditEntry.record(
                by, Action.VERDICT, generation, subject=generation.owner_id, note=note, before=before, after=after
            )
            reviewed += 1
    return reviewed


def delete_as_administrator(pks: Iterable[UUID], *, by: Any) -> int:
    """Delete generations with their images. Returns their number; running ones are cancelled, and stay."""
    deleted = 0
    for generation in Generation.objects.filter(pk__in=list(pks)):
        about = {"status": generation.status, "verdict": generation.verdict, "created_at": generation.created_at}
        with transaction.atomic():
            if delete(generation):
                AuditEntry.record(by, Action.DELETED, generation, subject=generation.owner_id, before=about)
                deleted += 1
    return deleted


def record_hidden_result(image: GeneratedImage, *, by: Any) -> None:
    """Record that an administrator opens the result that the safety checker hid."""
    generation = image.generation
    AuditEntry.record(by, Action.HIDDEN_RESULT, generation, subject=generation.owner_id, after={"result": image.index})
