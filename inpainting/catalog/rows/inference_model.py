"""The database model of catalog entries: specification, enabled flag, and state of installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator, URLValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

from inpainting import families
from inpainting.catalog import specs
from inpainting.catalog.inspection.files import ModelRefused, installed_weights, model_folder
from inpainting.catalog.rows.choices import (
    control_choices,
    family_choices,
    kind_choices,
    scheduler_choices,
    source_choices,
)
from inpainting.catalog.rows.fields import range_validators, slug_field
from inpainting.catalog.rows.model_files import sees_model_files
from inpainting.catalog.shipped_weights import UNTRIED
from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import mark, parts_of, restored
from inpainting.core.settings_table import DEFAULT_STRENGTH, RANGES
from inpainting.core.validation import check_range
from inpainting.database.leases import NOT_LEASED, ConditionalUpdate, seconds_from_now

PULL_LEASE_SECONDS = 300
"""The time without progress after which a pull is considered dead and another may start."""
MAX_ALIAS_CHARACTERS = 200
SPEC_COLUMNS = tuple(field.name for field in fields(ModelSpec) if field.name != "path")


class ModelState(models.TextChoices):
    NOT_INSTALLED = "not_installed", pgettext_lazy("a model", "not installed")
    PULLING = "pulling", pgettext_lazy("a model", "pulling")
    INSTALLED = "installed", pgettext_lazy("a model", "installed")
    FAILED = "failed", pgettext_lazy("a model", "failed")


class InferenceModel(ConditionalUpdate):
    """The state changes only through the mutators below, each one conditional UPDATE.

    `files` are the hashes pinned by the first pull; later pulls must match them. A process holds its pull by a lease
    and a fence, as a worker holds a generation.
    """

    slug = slug_field()
    label = models.CharField(max_length=100, help_text=gettext_lazy("name on the pages"))
    family = models.CharField(max_length=20, choices=family_choices)
    kind = models.CharField(
        max_length=10,
        choices=kind_choices,
        default=Kind.CHECKPOINT.value,
        help_text=gettext_lazy(
            "a checkpoint paints by itself; the others are adapters for checkpoints of their family"
        ),
    )
    control = models.CharField(
        max_length=10,
        blank=True,
        choices=control_choices,
        help_text=gettext_lazy("kind of control image, for a ControlNet"),
    )
    source = models.CharField(
        max_length=10,
        choices=source_choices,
        default=specs.Source.HUB.value,
    )
    repo = models.CharField(
        max_length=300,
        blank=True,
        help_text=gettext_lazy("repository on the hub, such as owner/name, or the https address of a file"),
    )
    revision = models.CharField(
        max_length=40, blank=True,
        help_text=gettext_lazy("full commit hash; empty: the newest, pinned by the first pull"),
        validators=[
            RegexValidator(specs.REVISION, gettext_lazy("A revision is a whole commit hash of 40 characters."))
        ],
    )  # fmt: skip
    variant = models.CharField(
        max_length=64, blank=True, help_text=gettext_lazy("preferred variant of the files, such as fp16")
    )
    licence = models.CharField(max_length=100, blank=True)
    licence_url = models.CharField(max_length=200, blank=True, validators=[URLValidator(["https", "http"])])
    size_bytes = models.BigIntegerField(null=True, blank=True, help_text=gettext_lazy("size of the download, if known"))
    memory_bytes = models.BigIntegerField(
        null=True, blank=True, help_text=gettext_lazy("memory needed to paint, if known")
    )
    steps = models.PositiveSmallIntegerField(default=30, validators=range_validators("steps", int))
    guidance_scale = models.FloatField(default=7.5, validators=range_validators("guidance_scale", float))
    strength = models.FloatField(
        "denoising strength",
        default=DEFAULT_STRENGTH,
        db_default=DEFAULT_STRENGTH,
        validators=range_validators("strength", float),
    )
    scheduler = models.CharField(max_length=60, choices=scheduler_choices, default="DPMSolverMultistepScheduler")
    width = models.PositiveSmallIntegerField(default=512, validators=range_validators("width", int))
    height = models.PositiveSmallIntegerField(default=512, validators=range_validators("height", int))
    aliases = models.JSONField(
        default=list, blank=True, help_text=gettext_lazy("list of further names that clients may send")
    )
    enabled = models.BooleanField(default=True, help_text=gettext_lazy("off: not offered, and not found by name"))
    is_fallback = models.BooleanField(
        "fallback", default=False, help_text=gettext_lazy("used for every model name that is not in the catalog")
    )
    files = models.JSONField(
        default=dict, editable=False, help_text=gettext_lazy("pinned files: name -> sha256 and size")
    )
    state = models.CharField(
        max_length=20, choices=ModelState.choices, default=ModelState.NOT_INSTALLED, editable=False
    )
    message = models.CharField(
        max_length=500, blank=True, editable=False, help_text=gettext_lazy("progress or error of a pull")
    )
    sentences = models.JSONField(
        null=True, editable=False, help_text="what the message was made of (`parts_of`); empty: it is a plain text"
    )
    done_bytes = models.BigIntegerField(default=0, editable=False)
    total_bytes = models.BigIntegerField(default=0, editable=False)
    installed_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    fence = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = "model"
        ordering: ClassVar[list[str]] = ["id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["is_fallback"],
                condition=models.Q(is_fallback=True),
                name="one_fallback_model",
                violation_error_message=gettext_lazy("Another model is the fallback already."),
            )
        ]

    def __str__(self) -> str:
        return self.label

    def clean(self) -> None:
        """Check the columns against each other, and that every name belongs to one model."""
        if not isinstance(self.aliases, list) or not all(
            isinstance(name, str) and 0 < len(name) <= MAX_ALIAS_CHARACTERS for name in self.aliases
        ):
            message = gettext("A list of texts of 1 to {most} characters.").format(most=MAX_ALIAS_CHARACTERS)
            raise ValidationError({"aliases": message})
        if bool(self.control) != (self.kind == Kind.CONTROLNET):
            message = gettext("A ControlNet has a kind of control image, and no other model has.")
            raise ValidationError({"control": message})
        if self.is_fallback and self.family not in families.generating():
            message = gettext("A model of the family {family} paints nothing.").format(family=self.family)
            raise ValidationError({"is_fallback": message})
        if self.is_fallback and self.kind != Kind.CHECKPOINT:
            raise ValidationError({"is_fallback": gettext("An adapter paints nothing by itself.")})
        if self.source in (specs.Source.HUB, specs.Source.URL) and not self.repo:
            raise ValidationError({"repo": gettext("A model from the hub needs a repository.")})
        is_checkpoint = self.kind == Kind.CHECKPOINT and self.family in families.names()
        if is_checkpoint and self.guidance_scale is not None:
            self._check_fit(self.family)
        own = {self.slug, *self.aliases}
        for other in InferenceModel.objects.exclude(pk=self.pk):
            twice = sorted(own & other.names)
            if twice:
                message = gettext("“{name}” is a name of {model} already.")
                raise ValidationError(message.format(name=twice[0], model=other.slug))

    def _check_fit(self, family: str) -> None:
        """Raise ValidationError for a scheduler or guidance scale that the family does not support."""
        max_scale = families.get(family).max_guidance_scale
        try:
            specs.check_scheduler(self.scheduler, family)
            check_range("guidance_scale", self.guidance_scale, RANGES["guidance_scale"][0], max_scale)
        except InvalidRequest as error:
            raise ValidationError({str(error.field): error.message}) from error

    @property
    def news(self) -> str:
        """The message as the sentence that it was."""
        return restored(self.message, self.sentences)

    # Factories

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> InferenceModel:
        return cls(**spec_columns(spec))

    # Mutators

    def start_pull(self) -> bool:
        """Claim the pull of the files. False: another process holds it."""
        return self._update_where(
            ~models.Q(state=ModelState.PULLING) | NOT_LEASED,
            state=ModelState.PULLING,
            message=mark("Starting"),
            done_bytes=0,
            total_bytes=0,
            fence=models.F("fence") + 1,
            lease_until=seconds_from_now(PULL_LEASE_SECONDS),
        )

    def progress(self, done_bytes: int, total_bytes: int, message: str) -> bool:
        """Store the progress of the pull and renew its lease. False: another process has taken over."""
        return self._update_where(
            self._held(),
            done_bytes=done_bytes,
            total_bytes=total_bytes,
            **message_columns(message),
            lease_until=seconds_from_now(PULL_LEASE_SECONDS),
        )

    def pin(self, revision: str, files: dict[str, dict[str, Any]]) -> bool:
        """Store the hashes of the first pull: later pulls of the revision must match them. False as `progress`."""
        return self._update_where(self._held(), revision=revision, files=files)

    def install(self, source: specs.Source, defaults: Mapping[str, Any] | None = None) -> bool:
        """End the pull: the files are in place. defaults: of requests, by column. False as `progress`."""
        size = sum(file["size"] for file in self.files.values())
        return self._update_where(
            self._held(),
            state=ModelState.INSTALLED,
            source=source,
            message="",
            size_bytes=size,
            done_bytes=size,
            total_bytes=size,
            installed_at=Now(),
            lease_until=None,
            **(defaults or {}),
        )

    def fail_pull(self, message: str) -> bool:
        """End the pull with an error. Files of an earlier pull stay installed. False as `progress`."""
        state = ModelState.INSTALLED if self.weights is not None else ModelState.FAILED
        return self._update_where(self._held(), state=state, lease_until=None, **message_columns(message))

    def remove(self) -> bool:
        """Mark the model as not installed; the pinned hashes stay. False: it is being pulled."""
        return self._update_where(
            ~models.Q(state=ModelState.PULLING) | models.Q(lease_until__lte=Now()),
            state=ModelState.NOT_INSTALLED,
            message="",
            done_bytes=0,
            total_bytes=0,
            installed_at=None,
            lease_until=None,
        )

    def switch(self, enabled: bool) -> bool:
        return self._update_where(models.Q(), enabled=enabled)

    def _held(self) -> models.Q:
        return models.Q(state=ModelState.PULLING, fence=self.fence)

    # Queries

    @property
    def names(self) -> set[str]:
        return {self.slug, *self.aliases}

    @property
    def folder(self) -> Path:
        """The folder of its files. Raises ModelRefused if a symbolic link leads out of the models folder."""
        return model_folder(self.slug, settings.MODELS_DIR)

    @property
    def weights(self) -> Path | None:
        """The folder or file that an engine loads; None where nothing is installed, or a link leads elsewhere."""
        try:
            return installed_weights(self.folder)
        except ModelRefused:
            return None

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of settings that a request does not have."""
        return {
            name: getattr(self, name)
            for name in ("steps", "guidance_scale", "strength", "scheduler", "width", "height")
        }

    @property
    def is_installed(self) -> bool:
        return self.state == ModelState.INSTALLED and (self.weights is not None or not sees_model_files())

    @property
    def is_untried(self) -> bool:
        """Whether no test has run its published weights. False for a model that is not a shipped one."""
        return self.slug in UNTRIED

    @property
    def origin(self) -> str:
        """The repository or the address, without the hash in its fragment."""
        return self.repo.partition("#")[0]

    @property
    def percent(self) -> int | None:
        return self.done_bytes * 100 // self.total_bytes if self.total_bytes else None

    @property
    def has_stalled(self) -> bool:
        """Whether the lease of its pull has run out."""
        return self.state == ModelState.PULLING and (self.lease_until is None or self.lease_until <= timezone.now())

    @property
    def spec(self) -> ModelSpec:
        """The model as engines know it, with the path of its files where it is installed."""
        columns = {name: getattr(self, name) for name in SPEC_COLUMNS}
        typed = {
            "kind": Kind(self.kind),
            "control": specs.ControlImageKind(self.control) if self.control else None,
            "source": specs.Source(self.source),
            "aliases": tuple(self.aliases),
        }
        return ModelSpec(**columns | typed, path=self.weights if self.is_installed else None)

    def check_installed(self, *, field: str = "model") -> None:
        """Raise InvalidRequest, `model_unavailable`, with the command that installs it, unless it is installed."""
        if not self.is_installed:
            raise InvalidRequest(
                specs.install_hint(self.slug, self.label), code="model_unavailable", field=field, actual=self.slug
            )


def spec_columns(spec: ModelSpec) -> dict[str, Any]:
    """Return the columns of a spec's row."""
    columns = {name: getattr(spec, name) for name in SPEC_COLUMNS}
    return columns | {"control": spec.control or "", "aliases": list(spec.aliases)}


def message_columns(message: str) -> dict[str, Any]:
    return {"message": message[:500], "sentences": parts_of([message]) or None}
