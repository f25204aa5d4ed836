"""Everything that a user has stored, as one ZIP: images, masks, results, and JSON about them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.files import File
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models.fields.files import FieldFile

from accounts.models import User
from accounts.overview import account_record
from inpainting.generations import drafts, history
from inpainting.generations.description import metadata
from inpainting.generations.export_records import records_beside_generations, stack_record, stack_shares_of
from inpainting.media.archives import Archive, Member, safe_stem
from inpainting.models import DraftImage, Generation, Stack, StepMask, UploadedImage

ROWS_AT_ONCE = 500


def archive_of(user: User) -> Archive:
    """The same members for the same data, whenever it is called: nothing in it depends on the time.

    Without what the user may not see: results as they were before the safety checker hid them, and the images of
    generations that an administrator removed.
    """
    contents = Contents()
    newest: datetime = user.date_joined
    generations = []
    for generation in history.for_user(user).order_by("created_at", "pk").iterator(ROWS_AT_ONCE):
        generations.append(record_of(generation, contents))
        newest = generation.created_at
    contents.add_json("generations.json", generations)
    contents.add_json("account.json", {**account_record(user), **records_beside_generations(user)})
    for uploaded in UploadedImage.objects.filter(owner=user).order_by("created_at", "pk"):
        contents.add(f"uploads/{uploaded.pk}.png", uploaded.file)
    add_stacks(user, contents)
    add_draft(user, contents)
    return Archive(contents.members, newest)


class Contents:
    """Collects the members. A file that several rows share is added once."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._names: dict[str, str | None] = {}

    def add(self, name: str, file: FieldFile | File) -> str | None:
        """Add a stored file and return its name in the archive; None where the file was lost."""
        stored = str(file.name)
        if stored not in self._names:
            try:
                self.members.append(Member(name, file.size, stored=stored))
            except FileNotFoundError:
                self._names[stored] = None
            else:
                self._names[stored] = name
        return self._names[stored]

    def add_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder).encode()
        self.members.append(Member(name, len(text), content=text))


def record_of(generation: Generation, contents: Contents) -> dict[str, Any]:
    """The JSON of a generation. Adds its images; null in place of a file that was lost."""
    inputs: dict[str, str | None] = {}
    for name, stored in generation.inputs.items():
        stem = safe_stem(getattr(stored, "name", "")) or "photo"
        suffix = f"-{stem}" if name == "source" else ""
        inputs[name] = contents.add(f"{name.replace('_', '-')}s/{stored.pk}{suffix}.png", stored.file)
    results = []
    for image in generation.images.all():
        place = f"results/{generation.created_at:%Y-%m-%d}-{generation.pk}-{image.index}"
        files = {"file": contents.add(f"{place}.png", image.file)}
        if image.copy_file:
            files["copy"] = contents.add(f"{place}.{str(image.copy_file.name).rpartition('.')[2]}", image.copy_file)
        results.append(files)
    return {
        "id": generation.pk,
        "created_at": generation.created_at,
        "finished_at": generation.finished_at,
        "status": generation.status,
        "error": generation.error_message or None,
        "source_name": generation.source.name,
        "pictures": inputs,
        "results": results,
        "metadata": metadata(generation),
    }


def add_stacks(user: User, contents: Contents) -> None:
    """Add the steps of photos that were changed, where they are painted back, and what of them is shared."""
    stacks = Stack.objects.filter(owner=user).prefetch_related("steps").order_by("created_at", "pk")
    if stacks:
        contents.add_json("stacks.json", [stack_record(stack) for stack in stacks])
    for mask in StepMask.objects.filter(owner=user).order_by("created_at", "pk"):
        contents.add(f"step-masks/{mask.pk}.png", mask.file)
    for shared in stack_shares_of(user):
        contents.add(f"shared/{shared.pk}.png", shared.file)


def add_draft(user: User, contents: Contents) -> None:
    """Add what is open in the editor."""
    document = drafts.find(user).document
    if document:
        contents.add_json("draft/document.json", json.loads(document))
    for image in DraftImage.objects.filter(owner=user).order_by("created_at", "pk"):
        contents.add(f"draft/{image.sha256}.{image.extension}", image.file)
