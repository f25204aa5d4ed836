"""Batches and their items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from inpainting.admin.large_lists import LargeListAdmin
from inpainting.generations.batches import LIVE, delete_batch
from inpainting.models import (
    Batch,
    BatchItem,
    Generation,
)


class BatchItemInline(admin.TabularInline):
    model = BatchItem
    fields = readonly_fields = ("index", "name", "state", "generation", "refusal")
    extra = 0
    can_delete = False
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[BatchItem]:
        return super().get_queryset(request).select_related("generation", "batch")

    def has_add_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return False


@admin.register(Batch)
class BatchAdmin(LargeListAdmin):
    """Batches and their items; each generation is reviewed on its own page."""

    list_display = ("created_at", "id", "owner", "images")
    list_filter = ("created_at",)
    list_select_related = ("owner",)
    search_fields = ("id", "owner__email")
    date_hierarchy = "created_at"
    readonly_fields = fields = ("id", "owner", "created_at")
    inlines = (BatchItemInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        # Not Count("items"), which would group all items.
        items = BatchItem.objects.filter(batch=OuterRef("pk")).order_by().values("batch").annotate(n=Count("pk"))
        count = Coalesce(Subquery(items.values("n")), 0)
        return super().get_queryset(request).annotate(item_count=count)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return False

    def get_deleted_objects(
        self, objs: Sequence[Batch] | QuerySet[Batch], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Delete items with their batch without asking; protect batches with queued or running generations."""
        live = Generation.objects.filter(batch_item__batch__in=objs, status__in=LIVE)
        protected = [f"{generation}: {generation.status}" for generation in live]
        return [str(batch) for batch in objs], {str(self.opts.verbose_name_plural): len(objs)}, set(), protected

    def delete_model(self, request: HttpRequest, obj: Batch) -> None:
        delete_batch(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        for batch in queryset:
            delete_batch(batch)

    @admin.display(description=gettext_lazy("Images"), ordering="item_count")
    def images(self, batch: Batch) -> int:
        return int(batch.item_count)  # type: ignore[attr-defined]  # see get_queryset
