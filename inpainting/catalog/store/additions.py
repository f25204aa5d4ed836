"""New models of the catalog from local files, one at a time or all that a scan has found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError

from inpainting.catalog import families
from inpainting.catalog.inspection.scanning import LORA, Found
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.specs import Control, Kind, ModelSpec, Source
from inpainting.catalog.store import lora_store
from inpainting.catalog.store.pull import pull
from inpainting.catalog.store.sources import LocalSource, Manifest
from inpainting.core.errors import PaintingError


def add(model: InferenceModel, source: LocalSource) -> Manifest:
    """Save a new model with its files, which are ready at once. Return them; nothing is added where this raises.

    Raises ModelRefused, ModelUnavailable, ValidationError, and PullLost as `pull`.
    """
    model.full_clean()
    manifest = source.manifest(model)
    model.save(force_insert=True)
    try:
        if model.start_pull():
            pull(model, source, manifest)
    except BaseException:
        model.delete()  # it was not there before
        raise
    return manifest


def named(found: list[Found]) -> Iterator[tuple[str, Found]]:
    """Yield what a scan has found, each with a slug of its own; "" for what cannot be added."""
    taken: set[tuple[bool, str]] = set()
    for one in found:
        slug, number = one.slug, 1
        while not one.reason and (one.kind == LORA, slug) in taken:
            number += 1
            slug = f"{one.slug}-{number}"
        taken.add((one.kind == LORA, slug))
        yield ("" if one.reason else slug), one


def exists(slug: str, found: Found) -> bool:
    """Whether the catalog has a model or LoRA of that slug."""
    rows: Any = Lora.objects if found.kind == LORA else InferenceModel.objects
    return bool(rows.filter(slug=slug).exists())


def add_found(slug: str, found: Found, *, is_linked: bool) -> str:
    """Add what a scan has found. Return why it was not added, or what was left of it; "" for nothing.

    is_linked: by hard links, which take no space, where its disk is that of the models.
    """
    try:
        if found.kind == LORA:
            lora = Lora(
                slug=slug,
                label=found.path.stem[:100],
                family=found.family,
                kind=found.lora_kind.value,
                steps=found.steps,
            )
            lora_store.add(lora, found.path, is_linked=is_linked)
            return ""
        model = InferenceModel.from_spec(
            ModelSpec(
                slug=slug,
                label=slug,
                family=found.family,
                kind=Kind(found.kind),
                control=Control(found.control) if found.control else None,
                source=Source.FOLDER,
                variant=found.variant,
                **families.get(found.family).defaults,
            )
        )
        return add(model, LocalSource(found.path, is_linked=is_linked)).left_sentence
    except PaintingError as error:
        return f"Not added: {error.message}"
    except ValidationError as error:
        return f"Not added: {' '.join(error.messages)}"
    except OSError as error:
        return f"Not added: the disk failed: {error.strerror or error}."
