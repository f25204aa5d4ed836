"""The audit log, to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy

from accounts.admin import LIST_LENGTH, own_list
from accounts.models import AuditEntry


class TimeFilter(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = gettext_lazy("time")  # the field's name makes "By at"


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin):
    change_list_template = "admin/audit_log.html"
    list_per_page = LIST_LENGTH
    list_display = ("at", "administrator", "entry_label", "data_of", "changes")
    list_display_links = ("at", "entry_label")
    list_filter = ("action", ("at", TimeFilter), "target_type")
    search_fields = ("actor__email", "subject__email", "target_id", "note")
    readonly_fields = fields = ("at", "administrator", "entry_label", "data_of", "note", "changes")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        # Without the join, reading the actor of a deleted account raises DoesNotExist.
        return super().get_queryset(request).select_related("actor", "subject")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = {
            "title": gettext("Audit log"),
            "section": "audit",
            "one": gettext("entry"),
            "many": gettext("entries"),
            "search_label": gettext("E-mail address, id or note"),
        }
        return own_list(super().changelist_view(request, {**words, **(extra_context or {})}))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("administrator"), ordering="actor")
    def administrator(self, entry: AuditEntry) -> str:
        return entry.actor_name

    @admin.display(description=gettext_lazy("data of"), ordering="subject")
    def data_of(self, entry: AuditEntry) -> str:
        return entry.subject_name

    @admin.display(description=gettext_lazy("what"))
    def entry_label(self, entry: AuditEntry) -> str:
        return str(entry)

    @admin.display(description=gettext_lazy("before → after"))
    def changes(self, entry: AuditEntry) -> SafeString:
        lines = (
            (name, "–" if before in (None, "") else before, "–" if after in (None, "") else after)
            for name, before, after in entry.changes
        )
        return format_html_join("", "<div>{}: {} → {}</div>", lines)
