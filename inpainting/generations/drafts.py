"""Save the editor's draft of a user and its images; delete the images that no draft names."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.files import File
from django.db import transaction
from pydantic_core import to_json

from inpainting.accounting.limits import check_upload, lock_owner
from inpainting.core.codecs import inspect_image
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import Sentence, sentence
from inpainting.image_limits import image_limits
from inpainting.models import Draft, DraftImage
from inpainting.models.images import delete_uncommitted_files
from inpainting.storage import check_free_space

VERSION = 1
KINDS = ("photo", "mask", "frame")
STEPS = ("editing", "painting", "result")
MAX_ENTRIES = 10_000
UNNAMED_FOR = timedelta(days=1)
"""How long an image is kept that no draft names yet."""


def find(owner: Any) -> Draft:
    """The user's draft; one of revision 0 that is not saved if there is none."""
    return Draft.objects.filter(owner=owner).first() or Draft(owner=owner)


def save(owner: Any, document: Mapping[str, Any], *, revision: int, images: Collection[str]) -> Draft:
    """Replace the draft of that revision and delete the images that it no longer names.

    A document that equals the saved one changes nothing, so that a request whose answer was lost can be repeated.
    images: the SHA-256 of each file that the document names.
    Raises InvalidRequest: `field_invalid`, `draft_changed` for another revision, and `draft_pictures_missing`.
    """
    text = check_document(document)
    with transaction.atomic():
        lock_owner(owner)
        draft = find(owner)
        if draft.document == text:
            return draft
        if draft.revision != revision:
            message = sentence(
                "The draft was changed elsewhere: its revision is {revision}, not {revision_2}.",
                revision=draft.revision,
                revision_2=revision,
            )
            raise InvalidRequest(message, code="draft_changed", field="revision", limit=draft.revision, actual=revision)
        named = list(DraftImage.objects.filter(owner=owner, sha256__in=images))
        missing = sorted(set(images) - {image.sha256 for image in named})
        if missing:
            message = sentence(
                "{count} of its images are not uploaded yet, the first is {first}.",
                count=len(missing),
                first=missing[0],
            )
            raise InvalidRequest(message, code="draft_pictures_missing", field="pictures", actual=missing[0])
        replace_document(draft, text, named)
    return draft


def check_document(document: Mapping[str, Any]) -> str:
    """The document as JSON text. Raises InvalidRequest for one that the editor cannot have written."""

    def require(is_valid: bool, message: Sentence) -> None:
        if not is_valid:
            raise InvalidRequest(message, field="document")

    entries, cursor = document.get("entries"), document.get("cursor")
    require(document.get("version") == VERSION, sentence("document: version must be {version}.", version=VERSION))
    is_list = isinstance(entries, list) and len(entries) <= MAX_ENTRIES
    require(is_list, sentence("document: entries must be a list of at most {most}.", most=MAX_ENTRIES))
    known = all(isinstance(entry, dict) and entry.get("kind") in KINDS for entry in entries or ())
    require(known, sentence("document: each entry must have a kind: {kinds}.", kinds=", ".join(KINDS)))
    is_place = type(cursor) is int and 0 <= cursor <= len(entries or ())
    require(is_place, sentence("document: cursor must be a number of entries."))
    require(document.get("step") in STEPS, sentence("document: step must be one of {steps}.", steps=", ".join(STEPS)))
    require(isinstance(document.get("settings"), dict), sentence("document: settings must be an object."))
    text = to_json(document)  # `json.dumps` takes seven times as long, during which no other thread runs.
    is_finite = text == to_json(document, inf_nan_mode="null")  # 1e999 is read as infinity
    require(is_finite, sentence("document: its numbers must be finite."))
    return text.decode()


def replace_document(draft: Draft, text: str, named: Collection[DraftImage]) -> None:
    """Save another document, in the caller's transaction, which has locked the owner."""
    draft.document, draft.revision = text, draft.revision + 1
    draft.save()
    former = set(draft.images.values_list("pk", flat=True))
    draft.images.set(named)
    DraftImage.objects.filter(pk__in=former, drafts=None).delete()


def store_image(owner: Any, sha256: str, file: File) -> None:
    """Store an image for a draft to name, unless it is stored already.

    Raises InvalidRequest `picture_hash_mismatch`, InvalidImage, LimitReached, and OSError if a disk is full or nearly
    full.
    """
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        message = sentence("The SHA-256 of these bytes is {sha256}.", sha256=digest.hexdigest())
        raise InvalidRequest(message, code="picture_hash_mismatch", field="sha256", actual=digest.hexdigest())
    mine = DraftImage.objects.filter(owner=owner, sha256=sha256)
    if mine.exists():
        return
    check_free_space()
    file.seek(0)
    format, size = inspect_image(file.read(), limits=image_limits())
    file.seek(0)
    image = DraftImage.from_file(owner, file, sha256=sha256, extension=format.lower(), size=size)
    committed = False
    try:
        with transaction.atomic(durable=True):
            check_upload(image)  # locks the owner, so no concurrent request stores the same file
            if not mine.exists():
                image.save(force_insert=True)
        committed = True
    finally:
        if not committed or image._state.adding:
            delete_uncommitted_files([image])


def empty(owner: Any) -> None:
    """Delete the document of a user's draft and all images uploaded for it."""
    with transaction.atomic():
        lock_owner(owner)
        draft = find(owner)
        if draft.document:
            replace_document(draft, "", ())
        DraftImage.objects.filter(owner=owner).delete()


def delete_unnamed(now: datetime) -> None:
    """Delete the images that no draft has named for a day."""
    unnamed = DraftImage.objects.filter(drafts=None, created_at__lt=now - UNNAMED_FOR)
    for image in unnamed:
        with transaction.atomic():
            lock_owner(get_user_model().reference(image.owner_id))  # a draft is saved with the same lock
            unnamed.filter(pk=image.pk).delete()
