"""One generation for its reviewer: images, settings and the log of verdicts."""

from __future__ import annotations

from typing import Any

from django.core.files import File
from django.http import Http404
from django.urls import reverse

from accounts.models import AuditEntry
from inpainting.core.adapter_uses import IMAGE_LABELS
from inpainting.engines import registry
from inpainting.generations.description import measurements, metadata
from inpainting.generations.setting_rows import LABELS, LABELS_BY_PUBLIC_NAME, setting_rows
from inpainting.media.previews import preview_of, thumbnail_of
from inpainting.models import Generation, InferenceModel

MAX_ENTRIES = 20
PREVIEW, SMALL = "preview", "small"


def image_file(generation: Generation, which: str) -> File:
    """Return the file of an image: `source`, `mask`, the name of a conditioning image, or the index of a result.

    With `-preview` its preview; with `-small` the thumbnail of the source or of a result. Raises Http404 for others,
    and what `preview_of` raises. Results that the safety checker hid are those that their owner gets.
    """
    name, _, size = which.partition("-")
    stored_images: dict[str, Any] = {
        **generation.inputs,
        **{str(image.index): image for image in generation.images.all()},
    }
    stored = stored_images.get(name)
    if stored is None or size not in ("", PREVIEW, SMALL) or (size == SMALL and not hasattr(stored, "thumbnail")):
        raise Http404
    if size == SMALL:
        return thumbnail_of(stored)
    file: File = preview_of(stored) if size == PREVIEW else stored.file
    return file


def image_url(generation: Generation, which: str) -> str:
    return reverse("admin:inpainting_generation_picture", args=[generation.pk, which])


def images_of(generation: Generation) -> list[dict[str, Any]]:
    """Return the images in the order of the page; `hidden` is the link to a result as it was painted."""
    rows: list[dict[str, Any]] = [
        {"label": "Source", "which": "source", "image": generation.source, "alt": "The photo as it was"},
        {"label": "Mask: white is repainted", "which": "mask", "image": generation.mask, "alt": "The mask"},
    ]
    images = list(generation.images.all())
    for image in images:
        label = "Result" if len(images) == 1 else f"Result {image.index + 1}"
        row = {"label": label, "which": str(image.index), "image": image, "alt": f"{label}, as its owner gets it"}
        if image.hidden_file:
            row["hidden"] = reverse("hidden-picture", args=[generation.pk, image.index])
            row["hidden_by"] = image.report.get("hidden_by")
        rows.append(row)
    rows += [
        {"label": IMAGE_LABELS[name], "which": name, "image": stored, "alt": IMAGE_LABELS[name]}
        for name, stored in generation.references.items()
    ]
    return [
        {
            **row,
            "url": image_url(generation, row["which"]),
            "preview": image_url(generation, f"{row['which']}-{PREVIEW}"),
        }
        for row in rows
    ]


def recipe_rows(generation: Generation) -> list[tuple[str, Any]]:
    """Return label and value of what was requested and measured, without empty values."""
    recipe = metadata(generation)
    labels = dict(InferenceModel.objects.values_list("slug", "label"))
    results = [measurements(image) for image in generation.images.all()]
    rows = [
        ("Engine", f"{registry.label(generation.engine)}. {generation.engine_reason}".strip(" .")),
        (LABELS["model"], labels.get(recipe.get("model", ""), recipe.get("model"))),
        ("ControlNets", ", ".join(f"{use['slug']} {use['strength']:g}" for use in recipe.get("controls", ()))),
        ("IP-Adapters", ", ".join(f"{use['slug']} {use['scale']:g}" for use in recipe.get("ip_adapters", ()))),
        ("LoRAs", ", ".join(f"{use['slug']} {use['weight']:g}" for use in recipe["loras"])),
        ("Embeddings", ", ".join(recipe["embeddings"])),
        (LABELS["prompt"], recipe.get("prompt")),
        (LABELS["negative_prompt"], recipe.get("negative_prompt")),
        (LABELS["strength"], recipe.get("denoising_strength")),
        *((row["label"], row["value"]) for row in setting_rows(recipe, labels)),
        (LABELS["seed"], recipe.get("seed")),
        ("Without effect", ", ".join(LABELS_BY_PUBLIC_NAME.get(name, name) for name in recipe["ignored"])),
        ("Size", f"{recipe['width']} × {recipe['height']}"),
        ("Service", recipe["service"]),
        ("Fields without effect", ", ".join(recipe["ignored_fields"])),
        ("Seconds", None if generation.seconds is None else f"{generation.seconds:.1f}"),
        ("Attempts", generation.attempts),
        ("Seam score", ", ".join(f"{result['seam_score']:.2f}" for result in results)),
        ("Pixels changed outside the mask", ", ".join(str(r["outside_mask_changed_pixels"]) for r in results)),
        ("File of the source", generation.source.name),
        ("Id", generation.pk),
    ]
    return [(label, value) for label, value in rows if value not in (None, "")]


def log_of(generation: Generation) -> list[AuditEntry]:
    """Return the newest entries of the audit log about a generation."""
    entries = AuditEntry.objects.filter(target_type=generation._meta.label_lower, target_id=str(generation.pk))
    return list(entries.select_related("actor", "subject")[:MAX_ENTRIES])
