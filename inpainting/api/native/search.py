"""Finding generations: by status, engine, dates and the words of the prompt, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.paginator import EmptyPage, Paginator
from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from inpainting.generations import history
from inpainting.models import Generation, Status

Row = TypeVar("Row", bound=Model)

MOST_A_PAGE = 100
MOST_PAGES = 10**9


class Search(serializers.Serializer):
    """The query. Several words are all searched for, in any order."""

    status = serializers.ChoiceField(Status.values, required=False)
    engine = serializers.CharField(required=False, max_length=60)
    created_after = serializers.DateTimeField(required=False, help_text="ISO 8601; UTC unless it says otherwise.")
    created_before = serializers.DateTimeField(required=False, help_text="ISO 8601; UTC unless it says otherwise.")
    prompt = serializers.CharField(required=False, max_length=300, help_text="Words of the prompt, in any case.")
    page = serializers.IntegerField(default=1, min_value=1, max_value=MOST_PAGES)
    page_size = serializers.IntegerField(default=24, min_value=1, max_value=MOST_A_PAGE)


def page_of(search: dict[str, Any], request: Request, render: Callable[[Generation], dict[str, Any]]) -> dict[str, Any]:
    """One page of what was found, newest first. Raises NotFound for a page after the last."""
    return paged(found(history.of(request.user), search), search, request, render)


def paged(
    rows: QuerySet[Row], search: dict[str, Any], request: Request, render: Callable[[Row], dict[str, Any]]
) -> dict[str, Any]:
    """The `page` of `page_size` rows that is asked for. Raises NotFound for a page after the last."""
    paginator = Paginator(rows, search["page_size"])
    try:
        page = paginator.page(search["page"])
    except EmptyPage as error:
        raise NotFound(f"There is no page {search['page']}; the last is {paginator.num_pages}.") from error
    here = request.build_absolute_uri()
    return {
        "count": paginator.count,
        "next": replace_query_param(here, "page", page.next_page_number()) if page.has_next() else None,
        "previous": replace_query_param(here, "page", page.previous_page_number()) if page.has_previous() else None,
        "results": [render(row) for row in page],
    }


def found(generations: QuerySet[Generation], search: dict[str, Any]) -> QuerySet[Generation]:
    exact = {name: search[name] for name in ("status", "engine") if name in search}
    generations = generations.filter(**exact).order_by("-created_at", "-pk")
    if "created_after" in search:
        generations = generations.filter(created_at__gt=search["created_after"])
    if "created_before" in search:
        generations = generations.filter(created_at__lt=search["created_before"])
    for word in search.get("prompt", "").split():
        generations = generations.filter(settings__prompt__icontains=word)
    return generations
