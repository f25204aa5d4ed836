"""Admin pages of the retention and limits of users."""

from __future__ import annotations

from django.contrib import admin

from inpainting.models import (
    Retention,
    UserLimits,
)


@admin.register(Retention)
class RetentionAdmin(admin.ModelAdmin):
    """The row without a user is the maximum for all users; each other row is the choice of one user."""

    list_display = ("__str__", "days")
    list_select_related = ("user",)
    raw_id_fields = ("user",)


@admin.register(UserLimits)
class UserLimitsAdmin(admin.ModelAdmin):
    """The row without a user holds the defaults; a user's own row replaces them."""

    list_display = ("__str__", "waiting", "per_minute", "per_day", "megapixels_per_day", "stored_megabytes", "weight")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
