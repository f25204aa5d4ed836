"""Review of generations: source, mask and results side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inpainting.generations.delete import delete
from inpainting.media.files import picture_or_text_response
from inpainting.models import (
    Generation,
)
from inpainting.models.generation_request import INPUT_IMAGES


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):
    list_display = ("created_at", "small_result", "status", "owner", "engine", "service", "short_prompt", "took")
    list_display_links = ("created_at", "small_result")
    list_filter = ("status", "engine", "service", "created_at")
    list_select_related = ("owner", "source")
    search_fields = ("id", "owner__email", "settings")
    date_hierarchy = "created_at"
    readonly_fields = (
        *("side_by_side", "owner", "status", "engine", "service", "settings", "ignored_fields", "warnings"),
        *("error_code", "error_message", "attempts", "created_at", "started_at", "finished_at"),
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
        """Serve one image to a reviewer: source, mask, a conditioning image, small, or the index of a result."""
        generation = get_object_or_404(Generation.objects.select_related(*INPUT_IMAGES), pk=pk)
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
        """Protect queued and running generations from deletion."""
        to_delete, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        protected += [f"{generation}: {generation.status}" for generation in objs if not generation.has_ended]
        return to_delete, counts, forbidden, protected

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
        # Blurred until the box is ticked; this needs no script.
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
