"""Search in all generations by filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy, pgettext_lazy

from inpainting.engines import registry
from inpainting.engines.upscaling import UPSCALE
from inpainting.generations.search import MAX_SHORT, containing, has_short_words_alone
from inpainting.models import GeneratedImage, Generation, OwnerTotals, Status, Verdict
from inpainting.translation import translated

PAGE_LENGTH = 48
MAX_OWNERS = 200
"""Users whose e-mail address matches a search."""
UNREVIEWED = "unreviewed"
ANY = [("", pgettext_lazy("any value of a filter", "any"))]


class Filters(forms.Form):
    """The filters of the list, as query parameters."""

    q = forms.CharField(
        required=False,
        max_length=300,
        label=gettext_lazy("Search"),
        help_text=gettext_lazy("prompt, e-mail address or id"),
    )
    verdict = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Verdict"),
        choices=[
            *ANY,
            (UNREVIEWED, gettext_lazy("not reviewed")),
            *((choice.value, choice.label) for choice in Verdict if choice.value),
        ],
    )
    status = forms.ChoiceField(required=False, label=gettext_lazy("State"), choices=[*ANY, *Status.choices])
    engine = forms.ChoiceField(required=False, label=gettext_lazy("Engine"))
    service = forms.CharField(
        required=False,
        max_length=20,
        label=gettext_lazy("Service"),
        help_text=gettext_lazy("native, or the name of a service"),
    )
    user = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
    after = forms.DateField(
        required=False, label=pgettext_lazy("the first day", "From"), widget=forms.DateInput(attrs={"type": "date"})
    )
    before = forms.DateField(
        required=False, label=pgettext_lazy("the last day", "To"), widget=forms.DateInput(attrs={"type": "date"})
    )
    hidden = forms.BooleanField(required=False, label=gettext_lazy("Hidden by the safety checker"))

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        engines = [(name, translated(engine.declaration.label)) for name, engine in registry.engines().items()]
        self.fields["engine"].choices = [*ANY, *engines, (UPSCALE.name, translated(UPSCALE.label))]  # type: ignore[attr-defined]

    @property
    def newest_searched(self) -> str:
        """In how many of the newest generations the words are searched for, with separators; empty: in all."""
        text = self.cleaned_data.get("q", "") if self.is_valid() else ""
        is_limited = "@" not in text and has_short_words_alone(text.split())
        if is_limited and OwnerTotals.of_all()["generations"] > MAX_SHORT:
            return number_format(MAX_SHORT, force_grouping=True)
        return ""

    def matching(self) -> QuerySet[Generation]:
        """Return the generations that match, in no order; none if a filter is invalid."""
        if not self.is_valid():
            return Generation.objects.none()
        values = self.cleaned_data
        found = Generation.objects.filter(
            **{name: values[name] for name in ("status", "engine", "service") if values[name]}
        )
        if values["verdict"]:
            found = found.filter(verdict="" if values["verdict"] == UNREVIEWED else values["verdict"])
        if values["after"]:
            found = found.filter(created_at__gte=start_of(values["after"]))
        if values["before"]:
            found = found.filter(created_at__lt=start_of(values["before"]) + timedelta(days=1))
        if values["hidden"]:
            found = found.filter(pk__in=GeneratedImage.objects.exclude(hidden_file="").values("generation"))
        return matching_text(found, values["q"], owner=values["user"])


def matching_text(found: QuerySet[Generation], text: str, *, owner: int | None) -> QuerySet[Generation]:
    """Return those of the owner with this id, or with a part of an e-mail address if it contains @, else with every
    word in the prompt.

    owner: None: of any owner.
    """
    found_of_owner = found if owner is None else found.filter(owner=owner)
    if is_id(text):
        return found_of_owner.filter(pk=UUID(text))
    if "@" in text:
        owners = get_user_model().objects.filter(email__icontains=text).values_list("pk", flat=True)
        return found_of_owner.filter(owner__in=list(owners[:MAX_OWNERS]))
    return containing(found, owner=owner, prompt=text.split())


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def start_of(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
