"""The page of models: what is recommended for the machine, and for administrators the whole catalog.

They download models, remove their files, and turn them on and off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from accounts.administrators import for_administrators, is_administrator
from accounts.audit import Action
from accounts.models import AuditEntry, SignedInRequest
from inpainting import families
from inpainting.catalog.specs import Kind
from inpainting.catalog.store.pull import remove_files, start_pull_process
from inpainting.core.errors import PaintingError
from inpainting.core.setting import DIFFUSION, ERASE
from inpainting.families.declaration import CAPTIONS, MODERATION, PREPROCESSING, SEGMENTATION, UPSCALING
from inpainting.models import InferenceModel, Lora, ModelState
from inpainting.translation import translated
from inpainting.web.recommended_models import recommended

UNKNOWN = ""
TITLES: dict[str, Promise] = {
    DIFFUSION: gettext_lazy("Models that follow a prompt"),
    ERASE: gettext_lazy("Networks that erase without a prompt"),
    Kind.CONTROLNET: gettext_lazy("ControlNets: a control image"),
    Kind.IP_ADAPTER: gettext_lazy("IP-Adapters: an image prompt"),
    Kind.EMBEDDING: gettext_lazy("Embeddings: words for the prompt"),
    Kind.VAE: gettext_lazy("VAEs: encoders and decoders"),
    SEGMENTATION: gettext_lazy("Segmenters: find an object"),
    CAPTIONS: gettext_lazy("Captioners: describe an image"),
    PREPROCESSING: gettext_lazy("Preprocessors: compute control images"),
    UPSCALING: gettext_lazy("Upscalers: enlarge an image"),
    MODERATION: gettext_lazy("Safety checkers"),
    UNKNOWN: gettext_lazy("Models of families that this version does not know"),
}
"""Headings in the order of the page: checkpoints by the engine that uses them, other models by their kind."""


@require_GET
@login_required
def models_page(request: SignedInRequest) -> HttpResponse:
    """Show administrators the catalog under the recommendations; all others those, without a way to change anything."""
    sees_catalog = is_administrator(request.user, "inpainting.view_inferencemodel")
    models = list(InferenceModel.objects.all())
    shown, advice = groups(models) if sees_catalog else [], recommended(request, models)
    recommended_slugs = {entry["advice"].model.slug for entry in advice["recommendations"] if entry["advice"].model}
    context = {
        "sees_catalog": sees_catalog,
        "groups": shown,
        "installed_count": sum(group.installed_count for group in shown),
        "model_count": len(models),
        "is_catalog_open": any(is_changing(model) and model.slug not in recommended_slugs for model in models),
        "loras": Lora.objects.all() if sees_catalog and request.user.has_perm("inpainting.view_lora") else [],
        **advice,
    }
    return render(request, "models.html", context)


def is_changing(model: InferenceModel) -> bool:
    """Whether the model is being downloaded or could not be."""
    return model.state in (ModelState.PULLING, ModelState.FAILED)


@dataclass(frozen=True)
class ModelGroup:
    """Models under one heading of the page, installed ones first."""

    title: str
    models: Sequence[InferenceModel]

    @property
    def installed_count(self) -> int:
        return sum(model.is_installed for model in self.models)

    @property
    def is_open(self) -> bool:
        """True if something of it is installed, is being downloaded or could not be."""
        return any(model.state != ModelState.NOT_INSTALLED for model in self.models)


def groups(models: Iterable[InferenceModel]) -> list[ModelGroup]:
    """Return the groups of the page in its order, without empty ones."""
    engines = {family.name: family.engine for family in families.registered_families()}
    members: dict[str, list[InferenceModel]] = {str(title): [] for title in TITLES.values()}
    for model in models:
        key = engines.get(model.family, UNKNOWN) if model.kind == Kind.CHECKPOINT else model.kind
        members[str(TITLES[key])].append(model)
    return [
        ModelGroup(title, sorted(found, key=lambda model: not model.is_installed))
        for title, found in members.items()
        if found
    ]


@require_POST
@for_administrators("inpainting.change_inferencemodel")
def pull_model(request: SignedInRequest, slug: str) -> HttpResponse:
    model = get_object_or_404(InferenceModel, slug=slug)
    if not model.repo:
        messages.error(
            request,
            gettext("{model} has no repository to download from; add_model copies a folder or a file.").format(
                model=model
            ),
        )
    else:
        try:
            if start_pull_process(model):
                AuditEntry.record(request.user, Action.PULLED, model)
            else:
                messages.error(request, gettext("{model} is being downloaded already.").format(model=model))
        except PaintingError as error:
            messages.error(request, f"{model}: {translated(error.message)}")
    return to_model(slug, request.POST.get("at"))


@require_POST
@for_administrators("inpainting.change_inferencemodel")
def remove_model(request: SignedInRequest, slug: str) -> HttpResponse:
    model = get_object_or_404(InferenceModel, slug=slug)
    try:
        removed = remove_files(model)
    except PaintingError as error:
        messages.error(request, translated(error.message))
    else:
        if removed:
            AuditEntry.record(request.user, Action.FILES_REMOVED, model)
            messages.success(request, gettext("The files of {model} are gone from this machine.").format(model=model))
        else:
            messages.error(request, gettext("{model} is being downloaded.").format(model=model))
    return to_model(slug)


@require_POST
@for_administrators("inpainting.change_inferencemodel")
def switch_model(request: SignedInRequest, slug: str) -> HttpResponse:
    model = get_object_or_404(InferenceModel, slug=slug)
    enabled = request.POST.get("enabled") == "on"
    with transaction.atomic():
        model.switch(enabled)
        AuditEntry.record(request.user, Action.CHANGED, model, after={"enabled": enabled})
    return to_model(slug)


def to_model(slug: str, place: str | None = None) -> HttpResponse:
    """Redirect to the card of the model in the catalog, or to the place "recommended"."""
    return redirect(reverse("models-page") + ("#recommended" if place == "recommended" else f"#model-{slug}"))
