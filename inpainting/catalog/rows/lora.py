"""Rows of the LoRAs in the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext, gettext_lazy

from inpainting import families
from inpainting.catalog import specs
from inpainting.catalog.inspection.files import WEIGHTS
from inpainting.catalog.rows.choices import lora_family_choices, lora_kind_choices
from inpainting.catalog.rows.fields import range_validators, slug_field
from inpainting.catalog.rows.model_files import sees_model_files
from inpainting.catalog.specs import LoraSpec

FOLDER = ".loras"
"""In the folder of all models: no slug begins with a full stop."""


class Lora(models.Model):
    """A row exists as long as its file: `catalog.store.lora_store` adds and removes both."""

    slug = slug_field()
    label = models.CharField(max_length=100, help_text=gettext_lazy("name on the pages"))
    family = models.CharField(
        max_length=20,
        choices=lora_family_choices,
        editable=False,
        help_text=gettext_lazy("family of the models that it changes"),
    )
    kind = models.CharField(
        max_length=10,
        choices=lora_kind_choices,
        default=specs.LoraKind.STYLE.value,
        help_text=gettext_lazy(
            "lcm, lightning and hyper are distilled to few steps; they set steps, guidance and scheduler"
        ),
    )
    steps = models.PositiveSmallIntegerField(
        null=True, blank=True,
        help_text=gettext_lazy("number of steps that it was distilled to; empty: as usual for its kind"),
        validators=range_validators("steps", int),
    )  # fmt: skip
    trigger = models.CharField(
        max_length=200, blank=True, help_text=gettext_lazy("trigger words that the prompt must contain")
    )
    licence = models.CharField(max_length=100, blank=True)
    enabled = models.BooleanField(default=True, help_text=gettext_lazy("off: not offered, and not found by name"))
    repo = models.CharField(
        max_length=200, blank=True, editable=False, help_text=gettext_lazy("hub repository; empty: a local file")
    )
    revision = models.CharField(max_length=40, blank=True, editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    size_bytes = models.BigIntegerField(editable=False)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "LoRA"
        ordering: ClassVar[list[str]] = ["slug"]

    def __str__(self) -> str:
        return self.label

    def clean(self) -> None:
        if self.steps is not None and self.kind == specs.LoraKind.STYLE:
            message = gettext("Only a LoRA that is distilled to few steps has a number of steps.")
            raise ValidationError({"steps": message})
        kind = specs.LoraKind(self.kind)
        if kind is not specs.LoraKind.STYLE and specs.few_steps_of(kind, self.family) is None:
            support = families.get(self.family).lora
            known = ["style", *sorted(support.few_step_kinds if support else ())]
            message = gettext("For the family {family} no {kind} LoRAs are known; choose one of: {known}.")
            values = {"family": self.family, "kind": kind, "known": ", ".join(known)}
            raise ValidationError({"kind": message.format(**values)})

    # Queries

    @property
    def path(self) -> Path:
        return Path(settings.MODELS_DIR, FOLDER, self.slug + WEIGHTS)

    @property
    def is_installed(self) -> bool:
        return self.path.is_file() or not sees_model_files()

    @property
    def spec(self) -> LoraSpec:
        return LoraSpec(
            slug=self.slug,
            label=self.label,
            family=self.family,
            kind=specs.LoraKind(self.kind),
            steps=self.steps,
            trigger=self.trigger,
            digest=self.sha256,
            path=self.path,
        )
