"""Which stored image conditions which adapter of a generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from django.db import models

from inpainting.core.adapter_uses import IMAGE_NAMES, IMAGE_PLACES
from inpainting.models.images import ReferenceImage


class WithImages(models.Manager["ConditioningImage"]):
    """Joins the stored images, which all readers need."""

    def get_queryset(self) -> models.QuerySet[ConditioningImage]:
        return super().get_queryset().select_related("image")


class ConditioningImage(models.Model):
    """The conditioning image of an adapter or the mask of a region: of one entry of a setting that lists them."""

    generation = models.ForeignKey(
        "inpainting.Generation", on_delete=models.CASCADE, related_name="conditioning_images"
    )
    role = models.CharField(max_length=40, help_text="the setting that lists the adapter")
    index = models.PositiveSmallIntegerField(help_text="of the adapter in the list")
    image = models.ForeignKey(ReferenceImage, on_delete=models.RESTRICT, related_name="uses")

    objects = WithImages()

    class Meta:
        ordering: ClassVar[list[str]] = ["role", "index"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["generation", "role", "index"], name="one_image_of_an_adapter")
        ]

    @classmethod
    def of(cls, generation: models.Model, references: Mapping[str, ReferenceImage]) -> list[Self]:
        """Return the unsaved rows of a generation.

        references: its images, by their names in the request.
        """
        places = {IMAGE_PLACES[name]: image for name, image in references.items()}
        return [
            cls(generation=generation, role=role, index=index, image=image) for (role, index), image in places.items()
        ]

    @property
    def name(self) -> str:
        """The name of the image in a request."""
        return IMAGE_NAMES[self.role, self.index]
