"""The review of generations: a list with filters, one generation with its verdict, and actions on selected ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from inpainting.admin.details import SMALL, image_file, image_url, images_of, log_of, recipe_rows
from inpainting.admin.search import PAGE_LENGTH, Filters
from inpainting.core.errors import InvalidRequest
from inpainting.engines import registry
from inpainting.generations.description import message_of
from inpainting.generations.pages import Cursor, find_newer, find_older, page_of
from inpainting.generations.review import (
    MAX_GENERATIONS,
    MAX_NOTE_CHARACTERS,
    delete_as_administrator,
    give_verdict,
)
from inpainting.media.files import OWNERS_ONLY, errors_as_text, image_response
from inpainting.models import Generation, Verdict
from inpainting.models.generation_request import JOINED_IMAGES
from inpainting.translation import translated

DELETE = "delete"
ACTIONS = {
    Verdict.FINE.value: gettext_lazy("Mark as fine"),
    Verdict.ATTENTION.value: gettext_lazy("Mark as needing attention"),
    Verdict.REMOVED.value: gettext_lazy("Remove, with a reason for the owner"),
    DELETE: gettext_lazy("Delete for ever"),
}
LIST, ONE = "admin:inpainting_generation_changelist", "admin:inpainting_generation_change"


class VerdictForm(forms.Form):
    verdict = forms.ChoiceField(choices=Verdict.choices, required=False)
    note = forms.CharField(required=False, max_length=MAX_NOTE_CHARACTERS)


class SelectedForm(forms.Form):
    action = forms.ChoiceField(choices=list(ACTIONS.items()))
    note = forms.CharField(required=False, max_length=MAX_NOTE_CHARACTERS)
    confirmed = forms.BooleanField(required=False)


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):
    """Pages of our own in place of Django's; the permissions are those of the model."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        wrap, name = self.admin_site.admin_view, "inpainting_generation_{}".format
        return [
            path("", wrap(require_GET(self.list_page)), name=name("changelist")),
            path("selected/", wrap(require_POST(self.change_selected)), name=name("selected")),
            path("<uuid:pk>/change/", wrap(require_GET(self.change_page)), name=name("change")),
            path("<uuid:pk>/verdict/", wrap(require_POST(self.verdict)), name=name("verdict")),
            path("<uuid:pk>/picture/<str:which>/", wrap(require_GET(self.image)), name=name("picture")),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponse:
        require(self.has_view_permission(request))
        filters = Filters(request.GET)
        found = filters.matching().select_related("owner", "source").prefetch_related("images")
        older_than, newer_than = (Cursor.parse(request.GET.get(name, "")) for name in ("older", "newer"))
        page = page_of(found, PAGE_LENGTH, older_than=older_than, newer_than=newer_than)
        query = filter_query(request)
        context = {
            "title": gettext("Review"),
            "filters": filters,
            "rows": [card(generation, query) for generation in page.rows],
            "newer": page.newer and with_parameter(query, newer=page.newer),
            "older": page.older and with_parameter(query, older=page.older),
            "query": query.urlencode(),
            "is_filtered": bool(query),
            "actions": self.allowed_actions(request),
        }
        return self.render(request, "list", context)

    def change_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        require(self.has_view_permission(request))
        generation = self.find(pk)
        found, query, place = Filters(request.GET).matching(), filter_query(request), Cursor.from_generation(generation)
        context = {
            "title": gettext("Review of a generation"),
            "generation": generation,
            "images": images_of(generation),
            "warnings": [message_of(generation, text) for text in generation.warnings],
            "recipe": recipe_rows(generation),
            "log": log_of(generation),
            "next": link_to(find_older(found, place).first(), query),
            "previous": link_to(find_newer(found, place).first(), query),
            "list": with_parameter(query, newer=None),
            "query": query.urlencode(),
            "verdicts": [choice for choice in Verdict.choices if choice[0]],
            "max_note": MAX_NOTE_CHARACTERS,
            "may_review": self.has_change_permission(request),
            "may_delete": self.has_delete_permission(request),
        }
        return self.render(request, "one", context)

    def verdict(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Give one generation a verdict and go to the next one of the list, or stay."""
        require(self.has_change_permission(request))
        generation, form, query = self.find(pk), VerdictForm(request.POST), QueryDict(request.POST.get("query", ""))
        here = link_to(generation, query)
        if not form.is_valid():
            messages.error(
                request,
                gettext("At most {most} characters are allowed in a note.").format(most=MAX_NOTE_CHARACTERS),
            )
            return redirect(here)
        values = form.cleaned_data
        try:
            give_verdict([pk], Verdict(values["verdict"]), note=values["note"], by=request.user)
        except InvalidRequest as error:
            messages.error(request, translated(error.message))
            return redirect(here)
        messages.success(
            request, gettext("The verdict is saved: {label}.").format(label=Verdict(values["verdict"]).label)
        )
        following = (
            find_older(Filters(query).matching(), Cursor.from_generation(generation)).first()
            if "advance" in request.POST
            else None
        )
        return redirect(link_to(following, query) or here)

    def change_selected(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation, then change the selected generations."""
        form, query = SelectedForm(request.POST), QueryDict(request.POST.get("query", ""))
        back = with_parameter(query, newer=None)
        pks = valid_ids(request.POST.getlist("selected"))
        if not pks or not form.is_valid():
            messages.error(request, gettext("Select generations and an action."))
            return redirect(back)
        action = form.cleaned_data["action"]
        require(action in self.allowed_actions(request))
        error = ""
        if form.cleaned_data["confirmed"]:
            try:
                count = self.apply(action, pks, form.cleaned_data["note"], by=request.user)
            except InvalidRequest as refused:
                error = translated(refused.message)
            else:
                messages.success(
                    request,
                    ngettext(
                        "{action}: {count} of {total} generation.",
                        "{action}: {count} of {total} generations.",
                        len(pks),
                    ).format(action=ACTIONS[action], count=count, total=len(pks)),
                )
                return redirect(back)
        rows = Generation.objects.filter(pk__in=pks).select_related("owner", "source").prefetch_related("images")
        context = {
            "title": ACTIONS[action],
            "rows": [card(generation, query) for generation in rows.order_by("-created_at")],
            "action": action,
            "wants_note": action != DELETE,
            "needs_note": action == Verdict.REMOVED,
            "is_deletion": action == DELETE,
            "error": error,
            "query": query.urlencode(),
            "back": back,
            "max_note": MAX_NOTE_CHARACTERS,
        }
        return self.render(request, "selected", context)

    @errors_as_text
    def image(self, request: HttpRequest, pk: UUID, which: str) -> HttpResponseBase:
        """Return an image of a generation; see `image_file`."""
        require(self.has_view_permission(request))
        return image_response(request, image_file(self.find(pk), which), OWNERS_ONLY)

    def apply(self, action: str, pks: Sequence[UUID], note: str, *, by: Any) -> int:
        """Apply an action and return the number of generations that were changed."""
        if action == DELETE:
            return delete_as_administrator(pks, by=by)
        return give_verdict(pks, Verdict(action), note=note, by=by)

    def allowed_actions(self, request: HttpRequest) -> dict[str, str]:
        may = {True: self.has_delete_permission(request), False: self.has_change_permission(request)}
        return {action: str(label) for action, label in ACTIONS.items() if may[action == DELETE]}

    def find(self, pk: UUID) -> Generation:
        rows: QuerySet[Generation] = Generation.objects.select_related("owner", "reviewed_by", *JOINED_IMAGES)
        return get_object_or_404(rows.prefetch_related("images", "conditioning_images"), pk=pk)

    def render(self, request: HttpRequest, page: str, context: dict[str, Any]) -> HttpResponse:
        values = {**self.admin_site.each_context(request), "opts": self.opts, "section": "review", **context}
        return TemplateResponse(request, f"admin/review/{page}.html", values)


def require(allowed: bool) -> None:
    if not allowed:
        raise PermissionDenied


def card(generation: Generation, query: QueryDict) -> dict[str, Any]:
    """Return a row of the list: the result, or else the source."""
    images = list(generation.images.all())
    return {
        "generation": generation,
        "url": link_to(generation, query),
        "thumbnail": image_url(generation, f"{images[0].index if images else 'source'}-{SMALL}"),
        "engine": translated(registry.label(generation.engine)),
        "is_hidden": any(image.hidden_file for image in images),
        "label": generation.prompt or generation.source.name or gettext("Photo"),
    }


def filter_query(request: HttpRequest) -> QueryDict:
    """Return the filters of the request that are set, without the place in the list."""
    query = QueryDict(mutable=True)
    for name in Filters.base_fields:
        if request.GET.get(name):
            query[name] = request.GET[name]
    return query


def with_parameter(query: QueryDict, **parameters: Cursor | None) -> str:
    """Return the path of the list with these filters, and the parameters that are not None."""
    changed = query.copy()
    changed.update({name: str(value) for name, value in parameters.items() if value is not None})
    return reverse(LIST) + (f"?{changed.urlencode()}" if changed else "")


def link_to(generation: Generation | None, query: QueryDict) -> str:
    """Return the path of the page of a generation, which keeps the filters; empty for None."""
    if generation is None:
        return ""
    return reverse(ONE, args=[generation.pk]) + (f"?{query.urlencode()}" if query else "")


def valid_ids(texts: Sequence[str]) -> list[UUID]:
    """Return the ids, at most MAX_GENERATIONS; texts that are no ids are left out."""
    found = []
    for text in texts[:MAX_GENERATIONS]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found
