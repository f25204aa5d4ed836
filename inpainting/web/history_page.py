"""The history: photos with their steps by days, search, filters, favourites, and what is done with a selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, gettext, gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_GET, require_POST

from accounts.models import SignedInRequest, User
from inpainting.core.codecs.formats import EXTENSIONS, PNG
from inpainting.engines import registry
from inpainting.engines.upscaling import UPSCALE
from inpainting.generations import history, undoable_delete
from inpainting.generations.edit_tree import in_tree, newest_steps, steps_of
from inpainting.generations.pages import Cursor, page_of
from inpainting.generations.search import MAX_SHORT, has_short_words_alone, search, values_in_use
from inpainting.media.archives import ArchiveEntry, ArchiveNames, zip_response
from inpainting.models import GeneratedImage, Generation, InferenceModel, Status
from inpainting.models.generation_request import JOINED_IMAGES, NATIVE
from inpainting.translation import translated
from inpainting.web.state_labels import STATE_LABELS
from inpainting.web.time_zone import in_the_users_zone

PAGE_LENGTH = 24
LONG_DATE = "j F Y"
"""Of the headings, in English; other languages have Django's format."""
MAX_REMOVED = 24
"""Removed generations that the first page lists."""
MAX_SELECTED = 1000
MAX_STEPS = 1000
"""Of all photos of a page that are counted and selected, and of one that are numbered."""
MAX_COUNTED = 500
"""Photos: to count all would read a whole history."""
STRIP_LENGTH = 5
"""Steps of a photo that its card shows, or the newest ones and the number of those before."""


class HistoryFilter(forms.Form):
    """The query of the page. A value that is not among the choices is ignored."""

    text = forms.CharField(required=False, max_length=300, label=gettext_lazy("Search"))
    status = forms.ChoiceField(required=False, label=gettext_lazy("State"))
    engine = forms.ChoiceField(required=False, label=gettext_lazy("Engine"))
    model = forms.ChoiceField(required=False, label=gettext_lazy("Model"))
    service = forms.ChoiceField(required=False, label=gettext_lazy("Sent by"))
    since = forms.DateField(
        required=False, label=pgettext_lazy("the first day", "From"), widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        required=False, label=pgettext_lazy("the last day", "To"), widget=forms.DateInput(attrs={"type": "date"})
    )
    favourite = forms.BooleanField(required=False, label=gettext_lazy("Favourites only"))
    tree = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, query: Any, *, used: Mapping[str, list[str]], models: Mapping[str, str]) -> None:
        super().__init__(query, label_suffix="")
        self.fields["text"].widget.attrs.update(
            {"type": "search", "placeholder": gettext("Words of a prompt or a file name")}
        )
        choices: dict[str, list[tuple[str, str]]] = {
            "status": [(status.value, str(STATE_LABELS[status])) for status in Status],
            "engine": [(name, translated(registry.label(name))) for name in used.get("engine", [])],
            "model": [(slug, models.get(slug, slug)) for slug in used.get("model", [])],
            "service": [(name, gettext("These pages") if name == NATIVE else name) for name in used.get("service", [])],
        }
        for name, values in choices.items():
            self.fields[name].choices = [("", gettext("All")), *values]  # type: ignore[attr-defined]  # they are ChoiceFields
            if name != "status" and len(values) < 2:
                self.fields[name].widget = forms.HiddenInput()

    def found(self, generations: QuerySet[Generation], *, owner: int) -> QuerySet[Generation]:
        """Return the generations of the owner that meet the valid parts of the query."""
        self.is_valid()
        values = self.cleaned_data
        found = search(
            generations,
            owner=owner,
            text=values.get("text", ""),
            is_favourite=values.get("favourite", False),
            created_after=start_of(values.get("since")),
            created_before=start_of(values.get("until"), days_later=1),
            exact={name: values.get(name) for name in ("status", "engine", "model", "service")},
        )
        return found.filter(in_tree(values["tree"])).order_by("created_at") if values.get("tree") else found

    @property
    def photo(self) -> UUID | None:
        """A step of the photo whose steps are listed; None: photos are."""
        step: UUID | None = self.cleaned_data.get("tree")
        return step

    @property
    def filters(self) -> list[str]:
        """Names of the filters that are set, without the search and the tree."""
        return [name for name, value in self.cleaned_data.items() if value and name not in ("text", "tree")]


def start_of(day: Any, *, days_later: int = 0) -> datetime | None:
    """Return midnight of the day in the current time zone."""
    if day is None:
        return None
    return timezone.make_aware(datetime.combine(day + timedelta(days=days_later), time.min))


@require_GET
@login_required
@in_the_users_zone
def history_page(request: SignedInRequest) -> HttpResponse:
    own, models = history.for_user(request.user), model_labels()
    query = HistoryFilter(request.GET, used=values_in_use(own), models=models)
    found = query.found(history.of_all_users(), owner=request.user.pk)
    shown = steps_page(request, found, models) if query.photo else photos_page(request, found, models)
    deleted = list(undoable_delete.recently_deleted(request.user).values_list("pk", "deleted_at"))
    context = {
        **shown,
        "query": query,
        "is_searching": bool(query.filters or query.cleaned_data.get("text") or query.photo),
        "newest_searched": newest_searched(request.user, query.cleaned_data.get("text", "")),
        "deleted": [pk for pk, _ in deleted],
        "undo_seconds": undo_seconds(deleted[0][1]) if deleted else 0,
        "removed": [] if query.filters or shown["newer"] else history.removed_of(request.user)[:MAX_REMOVED],
    }
    return render(request, "history.html", context)


def newest_searched(user: User, text: str) -> str:
    """Return in how many of the newest generations the words are searched for, with separators; empty: in all."""
    if has_short_words_alone(text.split()) and history.count_of(user) > MAX_SHORT:
        return number_format(MAX_SHORT, force_grouping=True)
    return ""


def photos_page(request: HttpRequest, found: QuerySet[Generation], models: Mapping[str, str]) -> dict[str, Any]:
    """Return the context of a page of photos, by the day of their last step."""
    heads = newest_steps(found.prefetch_related(None))
    older_than, newer_than = (Cursor.parse(request.GET.get(name, "")) for name in ("older", "newer"))
    page = page_of(heads, PAGE_LENGTH, older_than=older_than, newer_than=newer_than)
    cards = photo_cards(found, page.rows, models)
    days = groupby(cards, key=lambda card: timezone.localtime(card["generation"].created_at).date())
    return {
        "cards": cards,
        "days": [{"date": day, "name": day_name(day), "cards": list(group)} for day, group in days],
        "count": None if older_than or newer_than else heads[: MAX_COUNTED + 1].count(),
        "max_counted": MAX_COUNTED,
        "newer": page.newer and with_place(request, newer=page.newer),
        "older": page.older and with_place(request, older=page.older),
    }


def steps_page(request: HttpRequest, found: QuerySet[Generation], models: Mapping[str, str]) -> dict[str, Any]:
    """Return the context of a page of the steps of one photo, the first one first."""
    numbers = {pk: number for number, pk in enumerate(found.values_list("pk", flat=True)[:MAX_STEPS], 1)}
    page = Paginator(found, PAGE_LENGTH).get_page(request.GET.get("page"))
    cards = [
        {
            **card(generation, models),
            "step": numbers.get(generation.pk),
            "from_step": numbers.get(generation.parent_id) if generation.parent_id else None,
        }
        for generation in page
    ]
    return {
        "cards": cards,
        "days": [{"cards": cards}] if cards else [],
        "photo_name": cards[0]["generation"].source.name if cards else "",
        "count": page.paginator.count,
        "newer": with_place(request, page=page.previous_page_number()) if page.has_previous() else None,
        "older": with_place(request, page=page.next_page_number()) if page.has_next() else None,
    }


def with_place(request: HttpRequest, **place: Cursor | int) -> str:
    """Return the query of the page with another place in the list."""
    query = request.GET.copy()
    for name in ("older", "newer", "page"):
        query.pop(name, None)
    query.update({name: str(value) for name, value in place.items()})
    return f"?{query.urlencode()}"


def day_name(day: date) -> str:
    """Return "Today", "Yesterday" or "24 November 2026", in the current time zone."""
    ago = (timezone.localdate() - day).days
    named = {0: gettext("Today"), 1: gettext("Yesterday")}.get(ago)
    return named or date_format(day, LONG_DATE if get_language() == "en" else "DATE_FORMAT")


def undo_seconds(deleted_at: datetime | None) -> int:
    """Return the seconds that are left to undo a deletion."""
    if deleted_at is None:
        return 0
    return max(1, undoable_delete.UNDO_SECONDS - int((timezone.now() - deleted_at).total_seconds()))


def photo_cards(
    found: QuerySet[Generation], heads: Sequence[Generation], models: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the contexts of the cards of photos. heads: their newest steps, with the id of the root as `tree`."""
    trees = [head.tree for head in heads]  # type: ignore[attr-defined]  # an annotation
    has_result = Exists(GeneratedImage.objects.filter(generation=OuterRef("pk")))
    rows = steps_of(found, trees).values_list("tree", "pk", has_result)[:MAX_STEPS]
    steps: dict[UUID, list[UUID]] = {tree: [] for tree in trees}
    faces: dict[UUID, UUID] = {}
    for tree, pk, has_images in rows:
        steps[tree].append(pk)
        if has_images:
            faces.setdefault(tree, pk)
    shown = {pk for pks in steps.values() for pk in (*pks[:STRIP_LENGTH], *pks[-1:])}
    # Without a condition on the owner, whose index SQLite would read as a whole: these keys are the owner's.
    cards_need = Generation.objects.order_by().select_related(*JOINED_IMAGES).prefetch_related("images")
    read = cards_need.in_bulk({*shown, *faces.values(), *(head.pk for head in heads)})
    cards = []
    for head, tree in zip(heads, trees, strict=True):
        pks = steps[tree] or [head.pk]
        first = read.get(pks[-1], head)
        last = pks[: STRIP_LENGTH if len(pks) <= STRIP_LENGTH else STRIP_LENGTH - 1] if len(pks) > 1 else []
        strip = [read[pk] for pk in reversed(last) if pk in read]
        face = card(read.get(faces.get(tree, head.pk), head), models)
        cards.append(
            {
                **face,
                "generation": head,
                "url": reverse("generation", args=[head.pk]),
                "painted_with": engine_label(head, models),
                "title": first.source.name or head.prompt or gettext("Photo"),
                "words": head.prompt if first.source.name else "",
                "before": reverse("generation-source-thumbnail", args=[first.pk]) if face["before"] else None,
                "pks": pks,
                "strip": [
                    {**card(step, models), "number": number}
                    for number, step in enumerate(strip, len(pks) - len(strip) + 1)
                ],
                "left_out": len(pks) - len(strip) if strip else 0,
            }
        )
    return cards


def card(generation: Generation, models: Mapping[str, str]) -> dict[str, Any]:
    """Return the context of a generation's card."""
    first = next(iter(generation.images.all()), None)
    source = reverse("generation-source-thumbnail", args=[generation.pk])
    result = reverse("generation-image-thumbnail", args=[generation.pk, first.index]) if first else None
    return {
        "generation": generation,
        "title": generation.prompt or generation.source.name or gettext("Photo"),
        "painted_with": engine_label(generation, models),
        "url": reverse("generation", args=[generation.pk]),
        "thumbnail": result or source,
        "before": source if result else None,
        "pks": [generation.pk],
    }


def engine_label(generation: Generation, models: Mapping[str, str]) -> str:
    """Return the label of each model, its slug if it has left the catalog; the engine's label if it uses none."""
    model = generation.settings.get("model")
    if not model or "model" in registry.declaration(generation.engine).ignored_settings:
        return translated(registry.label(generation.engine))
    if generation.enlarged_to is not None:
        used = dict.fromkeys((generation.upscaler, model))  # two where detail was painted
        return ", ".join([translated(UPSCALE.label), *(models.get(slug, slug) for slug in used)])
    return models.get(model, model)


def model_labels() -> dict[str, str]:
    return dict(InferenceModel.objects.values_list("slug", "label"))


# The selection


def selected_pks(request: HttpRequest, name: str = "generation") -> list[UUID]:
    """Return the primary keys in the form's fields of that name. Malformed ones are left out."""
    pks: list[UUID] = []
    for value in request.POST.getlist(name):
        for text in value.split(","):  # a photo has those of its steps
            with suppress(ValueError):
                pks.append(UUID(text))
            if len(pks) == MAX_SELECTED:
                return pks
    return pks


def redirect_back(request: HttpRequest) -> HttpResponse:
    """Redirect to the address that the form names, of this site, else to the history."""
    wanted = request.POST.get("next", "")
    return redirect(wanted if url_has_allowed_host_and_scheme(wanted, None) else "history")


@require_POST
@login_required
def delete_selected(request: SignedInRequest) -> HttpResponse:
    undoable_delete.hide(request.user, selected_pks(request))
    return redirect_back(request)


@require_POST
@login_required
def restore_deleted(request: SignedInRequest) -> HttpResponse:
    undoable_delete.restore(request.user, selected_pks(request))
    return redirect_back(request)


@require_POST
@login_required
def mark_favourites(request: SignedInRequest) -> HttpResponse:
    """Mark favourites: `star` and `unstar` name one generation; without them the whole selection becomes a
    favourite."""
    starred, unstarred = selected_pks(request, "star"), selected_pks(request, "unstar")
    own = history.for_user(request.user).order_by()
    own.filter(pk__in=starred or ([] if unstarred else selected_pks(request))).update(is_favourite=True)
    own.filter(pk__in=unstarred).update(is_favourite=False)
    return redirect_back(request)


@require_POST
@login_required
def download_selected(request: SignedInRequest) -> HttpResponseBase:
    """Return the results of the selection as a ZIP. Generations without a result are left out."""
    generations = list(history.for_user(request.user).filter(pk__in=selected_pks(request)))
    entries = list(archive_entries(generations))
    if not entries:
        return redirect_back(request)
    now = timezone.localtime()
    filename = f"dreamlayer-{now:%Y-%m-%d-%H%M}.zip"
    return zip_response(entries, {"generations": len(generations)}, made_at=now, filename=filename)


def archive_entries(generations: list[Generation]) -> Iterator[ArchiveEntry]:
    names = ArchiveNames("manifest.json")
    for number, generation in enumerate(generations, 1):
        for image in generation.images.all():
            about = {
                "generation": generation.pk,
                "image": image.index,
                "prompt": generation.prompt,
                "created_at": generation.created_at,
                "sha256": image.copy_sha256 or image.sha256,
                "lossy": image.format != PNG,
            }
            name = names.unique(
                generation.source.name, fallback=f"image-{number:03}", extension=EXTENSIONS[image.format]
            )
            yield ArchiveEntry(name, image.delivered, about)
