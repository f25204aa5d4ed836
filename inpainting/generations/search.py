"""Search and filter generations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from inpainting.models import Generation

EXACT = {"status": "status", "engine": "engine", "service": "service", "model": "settings__model"}
"""Criterion -> the field that must have its value."""
MAX_READ = 1000
"""Generations whose values are offered as filters: to find those of all would read a whole history for each page."""


def search(
    generations: QuerySet[Generation],
    *,
    prompt: str = "",
    text: str = "",
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    is_favourite: bool = False,
    exact: Mapping[str, str | None] = MappingProxyType({}),
) -> QuerySet[Generation]:
    """Those that meet every criterion, newest first.

    prompt: words that the prompt contains, in any order and case. text: words that the prompt or the name of the file
    contains. exact: by the names of EXACT; None or "" for any value.
    """
    generations = generations.filter(**{EXACT[name]: value for name, value in exact.items() if value})
    if is_favourite:
        generations = generations.filter(is_favourite=True)
    if created_after is not None:
        generations = generations.filter(created_at__gt=created_after)
    if created_before is not None:
        generations = generations.filter(created_at__lt=created_before)
    for word in prompt.split():
        generations = generations.filter(settings__prompt__icontains=word)
    for word in text.split():
        generations = generations.filter(Q(settings__prompt__icontains=word) | Q(source__name__icontains=word))
    return generations.order_by("-created_at", "-pk")


def values_in_use(generations: QuerySet[Generation]) -> dict[str, list[str]]:
    """Criterion of EXACT -> the values that the newest MAX_READ of these generations have, without duplicates."""
    names = ("engine", "service")
    newest = generations.order_by("-created_at", "-pk").annotate(model_slug=KeyTextTransform("model", "settings"))
    rows: set[tuple[Any, ...]] = set(newest.values_list(*names, "model_slug")[:MAX_READ])
    columns = zip((*names, "model"), zip(*rows, strict=True), strict=False)
    return {name: sorted({value for value in values if value}) for name, values in columns}
