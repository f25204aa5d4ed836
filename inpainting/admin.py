"""The history, for those who review it: source, mask and result side by side."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inpainting.api.files import OWNERS_ONLY, picture_response
from inpainting.models import Generation


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):
    list_display = ("created_at", "small_result", "owner", "status", "engine", "short_prompt", "took")
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

    def picture(self, request: HttpRequest, pk: UUID, which: str) -> HttpResponse:
        """One picture of a generation for a reviewer: source, mask, small, or a result's index."""
        generation = get_object_or_404(Generation.objects.select_related("source", "mask"), pk=pk)
        if not self.has_view_permission(request, generation):
            raise Http404
        files = {
            "source": generation.source.file,
            "mask": generation.mask.file,
            "small": generation.source.thumbnail,
            **{str(image.index): image.file for image in generation.images.all()},
        }
        if which not in files:
            raise Http404
        return picture_response(files[which], OWNERS_ONLY)

    @admin.display(description="Source, mask, result")
    def side_by_side(self, generation: Generation) -> SafeString:
        pictures = ["source", "mask", *(str(image.index) for image in generation.images.all())]
        return format_html_join(
            " ",
            '<a href="{0}"><img src="{0}" alt="{1}" class="dreamlayer-picture"></a>',
            ((self.picture_url(generation, which), which) for which in pictures),
        )

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
