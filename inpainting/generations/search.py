"""Search and filter generations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from inpainting.core.folding import fold
from inpainting.database import search_index
from inpainting.models import Generation

EXACT = {"status": "status", "engine": "engine", "service": "service", "model": "settings__model"}
"""Criterion -> the field that must have its value."""
MAX_READ = 1000
"""Generations whose values are offered as filters: to find those of all would read a whole history for each page."""
LETTERS = 3
"""The shortest word that the index has."""
MAX_SHORT = 10_000
"""Newest generations in which shorter words are searched for."""
MAX_INDEXED = 1000
"""The most generations that are looked up in the index. Words of more are looked for in the rows, the newest first,
where they soon fill a page."""
FOLDED_AT_ONCE = 500
"""Generations of earlier versions that one sweep folds."""


def search(
    generations: QuerySet[Generation],
    *,
    owner: int | None,
    prompt: str = "",
    text: str = "",
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    is_favourite: bool = False,
    exact: Mapping[str, str | None] = MappingProxyType({}),
) -> QuerySet[Generation]:
    """Those that meet every criterion, newest first.

    owner: whose generations are searched; None: of any owner. prompt: words that the prompt contains, in any order,
    without regard to case and accents. text: words that the prompt or the name of the file contains. exact: by the
    names of EXACT; None or "" for any value.
    """
    generations = generations.filter(**{EXACT[name]: value for name, value in exact.items() if value})
    if is_favourite:
        generations = generations.filter(is_favourite=True)
    if created_after is not None:
        generations = generations.filter(created_at__gt=created_after)
    if created_before is not None:
        generations = generations.filter(created_at__lt=created_before)
    return containing(generations, owner=owner, prompt=prompt.split(), text=text.split()).order_by("-created_at", "-pk")


def values_in_use(generations: QuerySet[Generation]) -> dict[str, list[str]]:
    """Criterion of EXACT -> the values that the newest MAX_READ of these generations have, without duplicates."""
    names = ("engine", "service")
    newest = generations.order_by("-created_at", "-pk").annotate(model_slug=KeyTextTransform("model", "settings"))
    rows: set[tuple[Any, ...]] = set(newest.values_list(*names, "model_slug")[:MAX_READ])
    columns = zip((*names, "model"), zip(*rows, strict=True), strict=False)
    return {name: sorted({value for value in values if value}) for name, values in columns}


# Words


def containing(
    generations: QuerySet[Generation], *, owner: int | None, prompt: Sequence[str], text: Sequence[str] = ()
) -> QuerySet[Generation]:
    """Return those of the owner that contain every word.

    owner: None: of any owner. prompt: words of the prompt. text: words of the prompt or the name of the file. Words of
    one or two letters alone are looked for in the newest MAX_SHORT of them.
    """
    searched: set[UUID] | None = None
    for words, in_names in ((prompt, False), (text, True)):
        for word in words:
            generations = generations.filter(contains(word, in_names=in_names))
        if words:
            if has_short_words_alone(words):
                generations = newest(generations, MAX_SHORT, owner=owner)
                found = read_newest(words, owner=owner, in_names=in_names)
            else:
                long = [word for word in words if len(fold(word)) >= LETTERS]
                found = look_up(long, owner=owner, in_names=in_names)
            if found is not None:
                searched = set(found) if searched is None else searched & set(found)
    if searched is not None:
        # Not by the index of owners, which SQLite would read as a whole: it expects ten rows of each.
        of_owner = generations.alias(owner_key=F("owner") + 0)
        return (of_owner if owner is None else of_owner.filter(owner_key=owner)).filter(pk__in=searched)
    return generations if owner is None else generations.filter(owner=owner)


def has_short_words_alone(words: Sequence[str]) -> bool:
    """Return whether there are words, none of which the index can have."""
    return bool(words) and all(len(fold(word)) < LETTERS for word in words)


def contains(word: str, *, in_names: bool) -> Q:
    """Return the condition for a word, also in rows that are not yet folded."""
    folded = Q(folded_prompt__contains=fold(word))
    as_stored = Q(settings__prompt__icontains=word)
    if in_names:
        folded |= Q(folded_name__contains=fold(word))
        as_stored |= Q(source__name__icontains=word)
    return folded | Q(folded_prompt=None) & as_stored  # in this order: SQLite reads the stored settings last


def newest(generations: QuerySet[Generation], count: int, *, owner: int | None) -> QuerySet[Generation]:
    """Return those among the newest of the owner."""
    times = of(owner).order_by("-created_at", "-pk").values_list("created_at", flat=True)
    last = times[count - 1 : count].first()
    return generations if last is None else generations.filter(created_at__gte=last)


def of(owner: int | None) -> QuerySet[Generation]:
    return Generation.objects.all() if owner is None else Generation.objects.filter(owner=owner)


def read_newest(words: Sequence[str], *, owner: int | None, in_names: bool) -> list[UUID] | None:
    """Return those of the newest MAX_SHORT that contain all of these words. None: there are more than MAX_INDEXED."""
    rows = newest(of(owner), MAX_SHORT, owner=owner)
    for word in words:
        rows = rows.filter(contains(word, in_names=in_names))
    found = list(rows.order_by().values_list("pk", flat=True)[: MAX_INDEXED + 1])
    return found if len(found) <= MAX_INDEXED else None


def look_up(words: Sequence[str], *, owner: int | None, in_names: bool) -> list[UUID] | None:
    """Return the generations that contain all of these words of LETTERS or more, by the index.

    None: there are more than MAX_INDEXED, or there is no index. Those that are not yet folded are read.
    """
    if not search_index.is_present():
        return None
    at_most = MAX_INDEXED + 1
    if connection.vendor == "sqlite":
        folded = [fold(word) for word in words]
        found = search_index.sqlite_matches(folded, in_names=in_names, owner=owner, at_most=at_most)
    else:
        rows = of(owner)
        for word in words:
            condition = Q(folded_prompt__contains=fold(word))
            rows = rows.filter(condition | Q(folded_name__contains=fold(word)) if in_names else condition)
        found = list(rows.order_by().values_list("pk", flat=True)[:at_most])
    not_folded = of(owner).filter(folded_prompt=None)
    for word in words:
        not_folded = not_folded.filter(contains(word, in_names=in_names))
    found += not_folded.order_by().values_list("pk", flat=True)[:at_most]
    return found if len(found) <= MAX_INDEXED else None


def fold_earlier() -> bool:
    """Fold some of the generations that an earlier version accepted. Returns whether none is left."""
    earlier = Generation.objects.filter(folded_prompt=None).order_by("-created_at").select_related("source")
    rows = list(earlier.only("settings", "source__name")[:FOLDED_AT_ONCE])
    for generation in rows:
        generation.fold()
        values = {"folded_prompt": generation.folded_prompt, "folded_name": generation.folded_name}
        Generation.objects.filter(pk=generation.pk).update(**values)
    return len(rows) < FOLDED_AT_ONCE
