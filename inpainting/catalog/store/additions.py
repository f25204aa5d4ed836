"""New models of the catalog from local files, one at a time or all that a scan has found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from inpainting import families
from inpainting.catalog.inspection.files import GGUF, ONNX, WEIGHTS
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.catalog.inspection.found_model import LORA, FoundModel
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.specs import ControlImageKind, Kind, ModelSpec, Source
from inpainting.catalog.store import lora_store
from inpainting.catalog.store.converted_networks import sha256_file
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


def name_found(found: list[FoundModel]) -> Iterator[tuple[str, bool, FoundModel]]:
    """Yield what a scan has found, each with its slug in the catalog, and whether it is there.

    What is not there gets a slug that nothing else has; "" is for what cannot be added.
    """
    taken: set[tuple[bool, str]] = set()
    for item in found:
        if item.reason:
            yield "", False, item
            continue
        slug, number = known_slug(item), 1
        is_known = bool(slug)
        slug = slug or item.slug
        while not is_known and ((item.kind == LORA, slug) in taken or rows(item).filter(slug=slug).exists()):
            number += 1
            slug = f"{item.slug}-{number}"
        taken.add((item.kind == LORA, slug))
        yield slug, is_known, item


def known_slug(found: FoundModel) -> str:
    """Return the slug of the model or LoRA in the catalog whose weights lie there; "" where there is none.

    Files are compared where their sizes are equal, by their place on the disk, which hard links share, and by hash. A
    model of another kind may have some of them, as a VAE has one of those of a checkpoint.
    """
    paths = [path for path in found.weights if isinstance(path, TensorSlice) or path.is_file()]
    same_kind = rows(found) if found.kind == LORA else rows(found).filter(kind=str(found.kind))
    for row in same_kind.order_by("pk"):
        if all(any(is_same(path, *weight) for path in paths) for weight in weights_of(row)) and weights_of(row):
            return str(row.slug)
    return ""


def weights_of(row: InferenceModel | Lora) -> list[tuple[Path, int, str]]:
    """Return the weights of a model or LoRA, each with its path, size and SHA-256."""
    if isinstance(row, Lora):
        return [(row.path, row.size_bytes, row.sha256)]
    if not row.is_installed:
        return []
    files = ((row.folder / name, entry["size"], entry["sha256"]) for name, entry in row.files.items())
    return [file for file in files if file[0].suffix in (WEIGHTS, ONNX, GGUF)]


def is_same(path: Path | TensorSlice, other: Path, size: int, sha256: str) -> bool:
    """Return whether a file holds what another one of that size and hash does."""
    if isinstance(path, TensorSlice):
        return path.size == size and path.sha256() == sha256
    if path.stat().st_size != size:
        return False
    return (other.exists() and path.samefile(other)) or sha256_file(path) == sha256


def rows(found: FoundModel) -> Any:
    """Return the rows among which a model or LoRA is."""
    return Lora.objects if found.kind == LORA else InferenceModel.objects


def add_found(slug: str, found: FoundModel, *, is_linked: bool) -> str:
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
                control=ControlImageKind(found.control) if found.control else None,
                source=Source.FOLDER,
                variant=found.variant,
                **families.get(found.family).defaults,
            )
        )
        return add(
            model, LocalSource(found.written or found.path, parts=found.parts, is_linked=is_linked)
        ).left_sentence
    except PaintingError as error:
        return f"Not added: {error.message}"
    except ValidationError as error:
        return f"Not added: {' '.join(error.messages)}"
    except OSError as error:
        return f"Not added: the disk failed: {error.strerror or error}."
