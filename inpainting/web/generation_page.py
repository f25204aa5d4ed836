"""The page of one generation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.http import require_GET

from inpainting.core.adapter_uses import IMAGE_LABELS
from inpainting.engines import registry
from inpainting.generations import history, shares, stack_shares
from inpainting.generations.description import image_url, input_url, measurements, message_of, metadata
from inpainting.generations.edit_tree import in_tree
from inpainting.generations.setting_rows import LABELS, setting_rows
from inpainting.media.results import is_signed_in_pages
from inpainting.models import Generation, Status
from inpainting.models.generation_request import INPUT_IMAGES
from inpainting.models.share import MAX_NAME_CHARACTERS, SharedLink
from inpainting.translation import translated
from inpainting.web.editor.editor_choices import HIDDEN_SENTENCE
from inpainting.web.history_page import model_labels

IN_ROW_OF_FILE = ("output_format", "quality", "max_file_kilobytes")


@require_GET
@login_required
def generation_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    try:
        generation = history.find(request.user, pk)
    except history.GenerationRemoved as removed:
        return render(request, "generation_removed.html", {"generation": removed.generation}, status=410)
    if generation is None:
        raise Http404
    details, labels = page_details(generation), model_labels()
    context = {
        "generation": generation,
        "title": generation.prompt or generation.source.name or gettext("Photo"),
        "summary": summary(generation),
        "step_count": history.for_user(request.user).filter(in_tree(pk)).order_by().count(),
        "details": details,
        "rows": [row for row in setting_rows(details["metadata"], labels) if row["name"] not in IN_ROW_OF_FILE],
        "labels": {name: translated(label) for name, label in LABELS.items()},
        "engine_label": translated(registry.label(generation.engine)),
        "hidden_sentence": HIDDEN_SENTENCE,
        "model_label": labels.get(generation.settings.get("model") or ""),
        **about_links(request, [*shares.find_of_generation(generation), *stack_shares.find_of_generation(generation)]),
    }
    return render(request, "generation.html", context)


def about_links(request: HttpRequest, found: Iterable[SharedLink]) -> dict[str, Any]:
    """Return what the templates of links and of the form for a new one read."""
    return {
        "shares": [
            {"share": share, "url": request.build_absolute_uri(reverse("shared", args=[shares.token(share)]))}
            for share in found
        ],
        "share_days": shares.DAYS,
        "max_share_name": MAX_NAME_CHARACTERS,
    }


def summary(generation: Generation) -> str:
    """Return a sentence about the result: "Removed in 1.4 s, nothing else touched."; empty unless it succeeded."""
    if generation.status != Status.SUCCEEDED or generation.seconds is None:
        return ""
    seconds = number_format(generation.seconds, 1)
    if generation.enlarged_to is not None:
        return gettext("Enlarged to {size} in {seconds} s.").format(size=generation.enlarged_to, seconds=seconds)
    changed = max((image.outside_mask_changed_pixels for image in generation.images.all()), default=0)
    done = DONE[generation.verb].format(seconds=seconds)
    if not changed:
        return gettext("{done}, nothing else touched.").format(done=done)
    return ngettext(
        "{done}, {count} pixel outside the mask changed.", "{done}, {count} pixels outside the mask changed.", changed
    ).format(done=done, count=changed)


DONE = {
    "Extended": gettext_lazy("Extended in {seconds} s"),
    "Inserted": gettext_lazy("Inserted in {seconds} s"),
    "Painted": gettext_lazy("Painted in {seconds} s"),
    "Removed": gettext_lazy("Removed in {seconds} s"),
}


def page_details(generation: Generation) -> dict[str, Any]:
    """Return values for the template that are not fields of the row."""
    return {
        "id": generation.pk,
        "error": {"message": message_of(generation, generation.error_message)} if generation.error_code else None,
        "seconds": generation.seconds,
        **{name: input_url(generation, name) for name in INPUT_IMAGES},
        "conditioning_images": [
            {
                "label": translated(IMAGE_LABELS[name]),
                "url": input_url(generation, name),
                "width": reference.width,
                "height": reference.height,
            }
            for name, reference in generation.references.items()
        ],
        "images": [
            {
                "url": image_url(image),
                "index": image.index,
                "query": "?download&content_credentials=true" if is_signed_in_pages(image) else "?download",
                "width": image.width,
                "height": image.height,
                **measurements(image),
            }
            for image in generation.images.all()
        ],
        "metadata": metadata(generation),
    }
