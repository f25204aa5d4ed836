"""The site of the admin: what its pages add, change or delete is recorded in the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.db.models.base import ModelBase
from django.http import HttpRequest
from django.utils.translation import gettext

from accounts.audit import Action
from accounts.models import AuditEntry, User

WITHOUT_VALUES = {"email", "first_name", "last_name", "password", "password1", "password2", "usable_password"}
"""Fields of which the audit log says only that they were changed: secrets, and what must go with the account."""
NOT_RECORDED = "not recorded"
MAX_SEARCH_CHARACTERS = 300
"""As in the history."""


class RecordedAdmin(admin.ModelAdmin):
    """Writes entries beside Django's own `LogEntry` rows, from which the pages “History” are made.

    Searches of unlimited length would fail: each word adds conditions, and SQLite nests at most 1,000 expressions.
    """

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if len(search_term) <= MAX_SEARCH_CHARACTERS:
            return super().get_search_results(request, queryset, search_term)
        message = gettext("A search may have at most {most} characters.").format(most=MAX_SEARCH_CHARACTERS)
        self.message_user(request, message, level=messages.ERROR)
        return queryset.none(), False

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        request.recorded_changes = () if add else changes_of(form)  # type: ignore[attr-defined]  # for log_change
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        AuditEntry.record(request.user, Action.ADDED, obj, subject=subject_of(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        before, after = getattr(request, "recorded_changes", ()) or ({}, {})
        AuditEntry.record(request.user, Action.CHANGED, obj, subject=subject_of(obj), before=before, after=after)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            AuditEntry.record(request.user, Action.DELETED, obj, subject=subject_of(obj))
        return super().log_deletions(request, queryset)


class RecordedSite(admin.AdminSite):
    enable_nav_sidebar = False  # the header leads to the pages, and the dashboard lists all tables

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[admin.ModelAdmin] | None = None,
        **options: Any,
    ) -> None:
        """Register with `RecordedAdmin` as the first base class, also the pages of other apps."""
        page = admin_class or admin.ModelAdmin
        recorded = type(page.__name__, (RecordedAdmin, page), {"__module__": page.__module__})
        models = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else model_or_iterable
        super().register(models, recorded, **options)


def changes_of(form: forms.BaseForm) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values before and after, by the names of the fields that the form changes."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in form.changed_data:
        if name in WITHOUT_VALUES:
            after[name] = NOT_RECORDED
        else:
            before[name], after[name] = plain(form.initial.get(name)), plain(form.cleaned_data.get(name))
    return before, after


def plain(value: Any) -> Any:
    """Return the value as JSON: rows by their primary keys."""
    if isinstance(value, Model):
        return value.pk
    if isinstance(value, QuerySet | list | tuple):
        return [plain(element) for element in value]
    return value if isinstance(value, int | float | str | None) else str(value)


def subject_of(obj: Model) -> Any:
    """Return the id of the user whose row it is; None if it belongs to no user."""
    if isinstance(obj, User):
        return obj.pk
    return getattr(obj, "owner_id", None) or getattr(obj, "user_id", None)
