"""The history, for those who review it: source, mask and result side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inpainting.catalog.store.lora_store import remove
from inpainting.catalog.store.pull import remove_files
from inpainting.generations.batches import LIVE, delete_batch
from inpainting.generations.delete import delete
from inpainting.media.files import picture_or_text_response
from inpainting.models import (
    Batch,
    BatchItem,
    Generation,
    InferenceModel,
    Lora,
    ModelState,
    Retention,
    UserLimits,
    WebhookAttempt,
    WebhookDelivery,
)
from inpainting.models.generation import GIVEN


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):
    list_display = ("created_at", "small_result", "status", "owner", "engine", "short_prompt", "took")
    list_display_links = ("created_at", "small_result")
    list_filter = ("status", "engine", "created_at")
    list_select_related = ("owner", "source")
    search_fields = ("id", "owner__email", "settings")
    date_hierarchy = "created_at"
    readonly_fields = (
        *("side_by_side", "owner", "status", "engine", "settings", "warnings", "error_code", "error_message"),
        *("attempts", "created_at", "started_at", "finished_at"),
    )
    fields = readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Generation | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        picture = path(
            "<uuid:pk>/picture/<str:which>/",
            self.admin_site.admin_view(self.picture),
            name="inpainting_generation_picture",
        )
        return [picture, *super().get_urls()]

    def picture(self, request: HttpRequest, pk: UUID, which: str) -> HttpResponseBase:
        """One picture of a generation for a reviewer: source, mask, a further one, small, or a result's index."""
        generation = get_object_or_404(Generation.objects.select_related(*GIVEN), pk=pk)
        if not self.has_view_permission(request, generation):
            raise Http404
        files = {
            "source": generation.source.file,
            "mask": generation.mask.file,
            **{name: picture.file for name, picture in generation.references.items()},
            "small": generation.source.thumbnail,
            **{str(image.index): image.file for image in generation.images.all()},
        }
        if which not in files:
            raise Http404
        return picture_or_text_response(request, files[which])

    def get_deleted_objects(
        self, objs: Sequence[Generation] | QuerySet[Generation], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """What waits or runs stands in the way of deleting, with its name."""
        to_delete, counts, forbidden, in_the_way = super().get_deleted_objects(objs, request)
        in_the_way += [f"{generation}: {generation.status}" for generation in objs if not generation.has_ended]
        return to_delete, counts, forbidden, in_the_way

    def delete_model(self, request: HttpRequest, obj: Generation) -> None:
        delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Generation]) -> None:
        for generation in queryset:
            delete(generation)

    @admin.display(description="Source, mask, result")
    def side_by_side(self, generation: Generation) -> SafeString:
        images = list(generation.images.all())
        pictures = ["source", "mask", *generation.references, *(str(image.index) for image in images)]
        shown = format_html_join(
            " ",
            '<a href="{0}"><img src="{0}" alt="{1}" class="dreamlayer-picture"></a>',
            ((self.picture_url(generation, which), which) for which in pictures),
        )
        # Blurred until somebody wants to see it, which takes a click and no script.
        unhidden = format_html_join(
            " ",
            '<label class="dreamlayer-hidden"><input type="checkbox"> Result {1}, hidden by the safety checker ({2}): '
            'show it as it was painted<img src="{0}" alt="Result {1} as it was painted" class="dreamlayer-picture" '
            'loading="lazy"></label>',
            (
                (reverse("hidden-picture", args=[generation.pk, image.index]), image.index, image.report["hidden_by"])
                for image in images
                if image.hidden_file
            ),
        )
        return shown + unhidden

    @admin.display(description="Source")
    def small_result(self, generation: Generation) -> SafeString:
        url = self.picture_url(generation, "small")
        return format_html('<img src="{}" alt="" class="dreamlayer-thumbnail" loading="lazy">', url)

    @admin.display(description="Prompt")
    def short_prompt(self, generation: Generation) -> str:
        return generation.prompt[:80]

    @admin.display(description="Seconds")
    def took(self, generation: Generation) -> str:
        return "" if generation.seconds is None else f"{generation.seconds:.1f}"

    @staticmethod
    def picture_url(generation: Generation, which: str) -> str:
        return reverse("admin:inpainting_generation_picture", args=[generation.pk, which])

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["css/admin.css"]}


@admin.register(InferenceModel)
class InferenceModelAdmin(admin.ModelAdmin):
    """The catalog. The page “Models” gets and removes the files; those of a deleted model go with it."""

    list_display = ("label", "slug", "family", "kind", "enabled", "is_fallback", "state", "installed_at")
    list_filter = ("kind", "family", "enabled", "state")
    search_fields = ("slug", "label", "repo", "aliases")
    readonly_fields = ("state", "message", "installed_at", "files")

    def save_model(self, request: HttpRequest, obj: InferenceModel, form: Any, change: bool) -> None:
        """Other files are wanted from now on: what was pinned of the former ones does not hold for them."""
        if {"source", "repo", "revision", "variant"} & set(form.changed_data):
            obj.files = {}
        super().save_model(request, obj, form, change)

    def get_readonly_fields(self, request: HttpRequest, obj: InferenceModel | None = None) -> tuple[str, ...]:
        # The slug names the folder of its files.
        return self.readonly_fields if obj is None else ("slug", *self.readonly_fields)

    def get_deleted_objects(
        self, objs: Sequence[InferenceModel] | QuerySet[InferenceModel], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """What is being pulled stands in the way of deleting, with its name."""
        to_delete, counts, forbidden, in_the_way = super().get_deleted_objects(objs, request)
        in_the_way += [f"{model}: {model.state}" for model in objs if model.state == ModelState.PULLING]
        return to_delete, counts, forbidden, in_the_way

    def delete_model(self, request: HttpRequest, obj: InferenceModel) -> None:
        if remove_files(obj):
            obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[InferenceModel]) -> None:
        for model in queryset:
            self.delete_model(request, model)


@admin.register(Lora)
class LoraAdmin(admin.ModelAdmin):
    """The LoRAs; `manage.py add_lora` brings them, and the file of a deleted one goes with it."""

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
class BatchAdmin(admin.ModelAdmin):
    """Which generations came in one call; each is reviewed by itself."""

    list_display = ("created_at", "id", "owner", "pictures")
    list_filter = ("created_at",)
    list_select_related = ("owner",)
    search_fields = ("id", "owner__email")
    date_hierarchy = "created_at"
    readonly_fields = fields = ("id", "owner", "created_at")
    inlines = (BatchItemInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        return super().get_queryset(request).annotate(item_count=Count("items"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return False

    def get_deleted_objects(
        self, objs: Sequence[Batch] | QuerySet[Batch], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Items go with their batch, with nothing to be asked about them; what waits or runs stands in the way."""
        live = Generation.objects.filter(batch_item__batch__in=objs, status__in=LIVE)
        in_the_way = [f"{generation}: {generation.status}" for generation in live]
        return [str(batch) for batch in objs], {"batches": len(objs)}, set(), in_the_way

    def delete_model(self, request: HttpRequest, obj: Batch) -> None:
        delete_batch(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        for batch in queryset:
            delete_batch(batch)

    @admin.display(description="Pictures", ordering="item_count")
    def pictures(self, batch: Batch) -> int:
        return int(batch.item_count)  # type: ignore[attr-defined]  # see get_queryset


@admin.register(Retention)
class RetentionAdmin(admin.ModelAdmin):
    """One row without a user is the longest that anybody may keep; the others are what people chose themselves."""

    list_display = ("__str__", "days")
    list_select_related = ("user",)
    autocomplete_fields = ("user",)


@admin.register(UserLimits)
class UserLimitsAdmin(admin.ModelAdmin):
    """One row without a user holds for everybody who has none of their own."""

    list_display = ("__str__", "waiting", "per_minute", "per_day", "megapixels_per_day", "stored_megabytes")
    list_select_related = ("user",)
    autocomplete_fields = ("user",)


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
class WebhookDeliveryAdmin(admin.ModelAdmin):
    """What was told to whom, and how each try went."""

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
