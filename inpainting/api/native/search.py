"""Search in the caller's generations by status, engine, service, dates, words of the prompt and edit tree."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from inpainting.api.native.pagination import PageQuery
from inpainting.generations.edit_tree import in_tree
from inpainting.generations.search import search as filtered
from inpainting.models import Generation, Status


class Search(PageQuery):
    """The query parameters. Results contain every word of `prompt`, in any order."""

    status = serializers.ChoiceField(Status.values, required=False)
    engine = serializers.CharField(required=False, max_length=60, trim_whitespace=False)
    service = serializers.CharField(required=False, max_length=20, help_text="native, or the name of a service.")
    created_after = serializers.DateTimeField(required=False, help_text="ISO 8601; UTC without a time zone.")
    created_before = serializers.DateTimeField(required=False, help_text="ISO 8601; UTC without a time zone.")
    prompt = serializers.CharField(
        required=False, max_length=300, allow_blank=True, help_text="Words of the prompt, in any case."
    )
    tree = serializers.UUIDField(required=False, help_text="A generation: all of its edit tree, from the root on.")


def search(generations: QuerySet[Generation], query: dict[str, Any]) -> QuerySet[Generation]:
    exact: dict[str, Any] = {name: query[name] for name in ("status", "engine", "service") if name in query}
    others = {name: query[name] for name in ("created_after", "created_before", "prompt") if name in query}
    found = filtered(generations, exact=exact, **others)
    return found.filter(in_tree(query["tree"])) if "tree" in query else found
