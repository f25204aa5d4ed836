"""One generation for its reviewer: images, settings and the log of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.files import File
from django.http import Http404
from django.urls import reverse
from django.utils.translation import gettext

from accounts.models import AuditEntry
from inpainting.core.adapter_uses import IMAGE_LABELS
from inpainting.engines import registry
from inpainting.generations.description import measurements, message_of, metadata
from inpainting.generations.setting_rows import LABELS, LABELS_BY_PUBLIC_NAME, setting_rows
from inpainting.media.previews import preview_of, thumbnail_of
from inpainting.models import Generation, InferenceModel
from inpainting.translation import translated

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
        {
            "label": gettext("Source"),
            "which": "source",
            "image": generation.source,
            "alt": gettext("The photo as it was"),
        },
        {
            "label": gettext("Mask: white is repainted"),
            "which": "mask",
            "image": generation.mask,
            "alt": gettext("The mask"),
        },
    ]
    images = list(generation.images.all())
    for image in images:
        number = image.index + 1
        label = gettext("Result") if len(images) == 1 else gettext("Result {number}").format(number=number)
        row = {
            "label": label,
            "which": str(image.index),
            "image": image,
            "alt": gettext("{label}, as its owner gets it").format(label=label),
        }
        if image.hidden_file:
            row["hidden"] = reverse("hidden-image", args=[generation.pk, image.index])
            row["hidden_by"] = image.report.get("hidden_by")
        rows.append(row)
    rows += [
        {"label": label, "which": name, "image": stored, "alt": label}
        for name, stored in generation.references.items()
        for label in [translated(IMAGE_LABELS[name])]
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
        (gettext("Engine"), translated(registry.label(generation.engine))),
        (gettext("Why this engine"), message_of(generation, generation.engine_reason)),
        (translated(LABELS["model"]), labels.get(recipe.get("model", ""), recipe.get("model"))),
        ("ControlNets", ", ".join(f"{use['slug']} {use['strength']:g}" for use in recipe.get("controls", ()))),
        ("IP-Adapters", ", ".join(f"{use['slug']} {use['scale']:g}" for use in recipe.get("ip_adapters", ()))),
        ("LoRAs", names_of(recipe["loras"])),
        (gettext("Embeddings"), ", ".join(recipe["embeddings"])),
        (translated(LABELS["prompt"]), recipe.get("prompt")),
        (translated(LABELS["regions"]), ", ".join(map(in_words, recipe.get("regions", ())))),
        (translated(LABELS["negative_prompt"]), recipe.get("negative_prompt")),
        (translated(LABELS["strength"]), recipe.get("denoising_strength")),
        *((row["label"], row["value"]) for row in setting_rows(recipe, labels)),
        (translated(LABELS["seed"]), recipe.get("seed")),
        (
            gettext("Without effect"),
            ", ".join(translated(LABELS_BY_PUBLIC_NAME.get(name, name)) for name in recipe["ignored"]),
        ),
        (gettext("Size"), f"{recipe['width']} × {recipe['height']}"),
        (gettext("Service"), recipe["service"]),
        (gettext("Fields without effect"), ", ".join(recipe["ignored_fields"])),
        (gettext("Seconds"), None if generation.seconds is None else f"{generation.seconds:.1f}"),
        (gettext("Attempts"), generation.attempts),
        (gettext("Seam score"), ", ".join(f"{result['seam_score']:.2f}" for result in results)),
        (gettext("Pixels changed outside the mask"), ", ".join(str(r["outside_mask_changed_pixels"]) for r in results)),
        (gettext("File of the source"), generation.source.name),
        (gettext("Id"), generation.pk),
    ]
    return [(label, value) for label, value in rows if value not in (None, "")]


def names_of(loras: Sequence[Mapping[str, Any]]) -> str:
    """Return LoRAs with their weights: "ink 0.5, oil 1"."""
    return ", ".join(f"{use['slug']} {use['weight']:g}" for use in loras)


def in_words(region: Mapping[str, Any]) -> str:
    """Return a region with its weight and its LoRAs: "a cat 0.5 (ink 1)"."""
    loras = f" ({names_of(region['loras'])})" if region.get("loras") else ""
    return f"{region['prompt']} {region['weight']:g}{loras}"


def log_of(generation: Generation) -> list[AuditEntry]:
    """Return the newest entries of the audit log about a generation."""
    entries = AuditEntry.objects.filter(target_type=generation._meta.label_lower, target_id=str(generation.pk))
    return list(entries.select_related("actor", "subject")[:MAX_ENTRIES])
