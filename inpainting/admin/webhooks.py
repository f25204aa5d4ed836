"""Webhook deliveries and their attempts."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from inpainting.admin.large_lists import LargeListAdmin
from inpainting.models import (
    WebhookAttempt,
    WebhookDelivery,
)


class AttemptInline(admin.TabularInline):
    model = WebhookAttempt
    fields = readonly_fields = ("at", "status", "failure", "milliseconds", "answer_text")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: WebhookDelivery | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: WebhookDelivery | None = None) -> bool:
        return False


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(LargeListAdmin):
    """Webhook deliveries and their attempts."""

    list_display = ("created_at", "owner", "event", "url", "state", "tries", "next_attempt_at", "delivered_at")
    list_filter = ("state", "event", "created_at")
    list_select_related = ("owner",)
    search_fields = ("webhook_id", "owner__email", "url")
    readonly_fields = (
        *("webhook_id", "owner", "generation", "event", "url", "data"),
        *("state", "tries", "next_attempt_at", "created_at", "delivered_at"),
    )
    fields = readonly_fields
    inlines = (AttemptInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: WebhookDelivery | None = None) -> bool:
        return False
