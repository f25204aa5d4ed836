"""Search in all generations by filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from inpainting.engines import registry
from inpainting.engines.upscaling import UPSCALE
from inpainting.models import GeneratedImage, Generation, Status, Verdict

PAGE_LENGTH = 48
MAX_OWNERS = 200
"""Users whose e-mail address matches a search."""
UNREVIEWED = "unreviewed"
ANY = [("", "any")]


class Filters(forms.Form):
    """The filters of the list, as query parameters."""

    q = forms.CharField(required=False, max_length=300, label="Search", help_text="prompt, e-mail address or id")
    verdict = forms.ChoiceField(
        required=False,
        choices=[
            *ANY,
            (UNREVIEWED, "not reviewed"),
            *((choice.value, choice.label) for choice in Verdict if choice.value),
        ],
    )
    status = forms.ChoiceField(required=False, choices=[*ANY, *Status.choices])
    engine = forms.ChoiceField(required=False)
    service = forms.CharField(required=False, max_length=20, help_text="native, or the name of a service")
    user = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
    after = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    before = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))
    hidden = forms.BooleanField(required=False, label="Hidden by the safety checker")

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        engines = [(name, engine.declaration.label) for name, engine in registry.engines().items()]
        self.fields["engine"].choices = [*ANY, *engines, (UPSCALE.name, UPSCALE.label)]  # type: ignore[attr-defined]

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
        if values["user"]:
            found = found.filter(owner=values["user"])
        if values["after"]:
            found = found.filter(created_at__gte=start_of(values["after"]))
        if values["before"]:
            found = found.filter(created_at__lt=start_of(values["before"]) + timedelta(days=1))
        if values["hidden"]:
            found = found.filter(pk__in=GeneratedImage.objects.exclude(hidden_file="").values("generation"))
        return found.filter(words(values["q"])) if values["q"] else found


def words(text: str) -> Q:
    """Return the condition for an id, for a part of an e-mail address if it contains @, else for every word of the
    prompt."""
    try:
        return Q(pk=UUID(text))
    except ValueError:
        pass
    if "@" in text:
        owners = get_user_model().objects.filter(email__icontains=text).values_list("pk", flat=True)
        return Q(owner__in=list(owners[:MAX_OWNERS]))
    condition = Q()
    for word in text.split():
        condition &= Q(settings__prompt__icontains=word)
    return condition


def start_of(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
