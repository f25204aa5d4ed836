"""Models and LoRAs of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from inpainting.catalog.store.lora_store import remove
from inpainting.catalog.store.pull import remove_files
from inpainting.models import (
    InferenceModel,
    Lora,
    ModelState,
)


@admin.register(InferenceModel)
class InferenceModelAdmin(admin.ModelAdmin):
    """The catalog. The page “Models” pulls and removes files; deleting a model deletes its files."""

    list_display = ("label", "slug", "family", "kind", "enabled", "is_fallback", "state", "installed_at")
    list_filter = ("kind", "family", "enabled", "state")
    search_fields = ("slug", "label", "repo", "aliases")
    readonly_fields = ("state", "message", "installed_at", "files")

    def save_model(self, request: HttpRequest, obj: InferenceModel, form: Any, change: bool) -> None:
        """Drop the pinned hashes when the model refers to other files."""
        if {"source", "repo", "revision", "variant"} & set(form.changed_data):
            obj.files = {}
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: InferenceModel | None = None) -> tuple[str, ...]:
        # The slug names the folder of its files.
        return self.readonly_fields if obj is None else ("slug", *self.readonly_fields)

    def get_deleted_objects(
        self, objs: Sequence[InferenceModel] | QuerySet[InferenceModel], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Protect models that are being pulled from deletion."""
        to_delete, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        protected += [f"{model}: {model.state}" for model in objs if model.state == ModelState.PULLING]
        return to_delete, counts, forbidden, protected

    def delete_model(self, request: HttpRequest, obj: InferenceModel) -> None:
        if remove_files(obj):
            obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[InferenceModel]) -> None:
        for model in queryset:
            self.delete_model(request, model)


@admin.register(Lora)
class LoraAdmin(admin.ModelAdmin):
    """LoRAs, which `manage.py add_lora` adds; deleting one deletes its file."""

    list_display = ("label", "slug", "family", "kind", "enabled", "added_at")
    list_filter = ("family", "kind", "enabled")
    search_fields = ("slug", "label", "trigger")
    # The slug names its file.
    readonly_fields = ("slug", "family", "repo", "revision", "sha256", "size_bytes", "added_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Lora) -> None:
        remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Lora]) -> None:
        for lora in queryset:
            remove(lora)
