"""Find models, LoRAs and adapters by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

from django.utils.text import slugify

from inpainting import families
from inpainting.catalog.inspection.adapter_files import TINY_VAE, class_name_in
from inpainting.catalog.rows.inference_model import InferenceModel, ModelState
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.shipped import SHIPPED_ALIASES, no_model_message
from inpainting.catalog.specs import (
    ADAPTER_LABELS,
    ControlImageKind,
    Kind,
    LoraKind,
    LoraSpec,
    ModelSpec,
    PresetAdapters,
)
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.core.setting import DIFFUSION
from inpainting.database.compiled_query import CompiledQuery
from inpainting.families.declaration import PREPROCESSING, UPSCALING

T = TypeVar("T")
HASH = re.compile(r" \[[0-9a-f]{6,64}\]$")
ENDING = re.compile(r"\.(safetensors|ckpt|pt|pth|bin)$")


class Catalog:
    """The models, LoRAs and adapters that are enabled.

    Reads the rows from the database once: create one for each request, so that all its lookups see the same rows. Most
    requests need the installed checkpoints alone, so these are read apart unless all rows have been read.
    A name is never used as a file path.
    """

    @cached_property
    def _rows(self) -> list[InferenceModel]:
        return _enabled_models.instances()

    @cached_property
    def _installed_checkpoints(self) -> list[InferenceModel]:
        if "_rows" in vars(self):
            return [row for row in self._rows if row.kind == Kind.CHECKPOINT and row.state == ModelState.INSTALLED]
        return _installed_checkpoints.instances()

    @cached_property
    def loras(self) -> list[Lora]:
        """The LoRAs whose files exist."""
        return [row for row in _enabled_loras.instances() if row.is_installed]

    @property
    def checkpoints(self) -> list[InferenceModel]:
        """The checkpoints of families that generate images, installed or not."""
        return self._by_kind(Kind.CHECKPOINT)

    @property
    def adapters(self) -> list[InferenceModel]:
        """The installed adapters of every kind."""
        installed = [row for row in self._rows if row.kind != Kind.CHECKPOINT and row.state == ModelState.INSTALLED]
        return [row for row in installed if row.is_installed]

    def _by_kind(self, kind: Kind) -> list[InferenceModel]:
        generating = families.generating()
        return [row for row in self._rows if row.kind == kind and row.family in generating]

    def tools(self, use: str) -> list[InferenceModel]:
        """The models that paint nothing, installed or not. use: one of `families.declaration.TOOLS`."""
        names = families.names(engine=use)
        return [row for row in self._rows if row.kind == Kind.CHECKPOINT and row.family in names]

    def installed_tools(self, use: str) -> list[str]:
        """The slugs of those that are installed."""
        return [row.slug for row in self.tools(use) if row.is_installed]

    def find_tool(self, name: str, use: str) -> InferenceModel | None:
        """The model of that name for a use, installed or not; None where there is none."""
        return next(iter(filter_by_name(self.tools(use), name)), None)

    def find_preprocessor(self, control: str) -> tuple[ModelSpec, ...]:
        """The first installed model that computes control images of that kind, and one of each family that it needs.

        Empty where one of them is not installed.
        """
        tools = self.tools(PREPROCESSING)
        for row in tools:
            family = families.get(row.family)
            if family.computes == control and row.is_installed:
                needed = [
                    [tool for tool in tools if tool.family == name and tool.is_installed] for name in family.needs
                ]
                if all(needed):
                    return (row.spec, *(rows[0].spec for rows in needed))
        return ()

    def find_upscaler(self, name: str | None, *, built_in: Sequence[str] = ()) -> ModelSpec | None:
        """The installed upscaler of that slug or alias; for None the first installed one, or None.

        Raises InvalidRequest: `upscaler_not_found`, which lists the names with those that are built in, or
        `model_unavailable`.
        """
        rows = self.tools(UPSCALING)
        if name is None:
            return next((row.spec for row in rows if row.is_installed), None)
        row = self.find_tool(name, UPSCALING)
        if row is None:
            known = ", ".join([*built_in, *(row.slug for row in rows)])
            raise InvalidRequest(
                sentence(
                    "There is no upscaler called “{name}”; the upscalers are: {known}.", name=name[:60], known=known
                ),
                code="upscaler_not_found",
                field="model",
                actual=name[:60],
            )
        row.check_installed()
        return row.spec

    def installed(self, engine: str = DIFFUSION) -> list[InferenceModel]:
        """Return the installed checkpoints of an engine, the default one first."""
        names = families.names(engine=engine)
        rows = [row for row in self._installed_checkpoints if row.family in names and row.is_installed]
        return sorted(
            rows, key=lambda row: (not row.is_fallback, not families.get(row.family).is_chosen_by_auto, row.pk)
        )

    def default(self, engine: str = DIFFUSION) -> InferenceModel | None:
        """Return the checkpoint for requests that name none: the fallback if it is installed, else the first one."""
        return next(iter(self.installed(engine)), None)

    def find_row(self, name: str) -> InferenceModel:
        """Return the checkpoint with that slug or alias, or the fallback for an unknown name, installed or not.

        Raises InvalidRequest, `model_not_found`, which lists the slugs, where there is no fallback.
        """
        rows = self.checkpoints
        matching = filter_by_name(rows, name) or [row for row in rows if row.is_fallback]
        if not matching:
            raise InvalidRequest(
                sentence("There is no model of that name here; the models are: {known}.", known=list_slugs(rows)),
                code="model_not_found",
                field="model",
            )
        return matching[0]

    def has_named(self, name: str) -> bool:
        """Whether a checkpoint has that slug or alias, installed or not."""
        return bool(filter_by_name(self.checkpoints, name))

    def chosen_row(self, slug: str | None) -> InferenceModel | None:
        """Return the checkpoint of a slug that a lookup returned; the default one for None."""
        return self.find_row(slug) if slug else self.default()

    def closest_installed(self, name: str) -> str | None:
        """Return the slug of the checkpoint of that name, or of the first installed one of its family, or None.

        Raises InvalidRequest, see `find_row`.
        """
        row = self.find_row(name)
        if row.is_installed:
            return row.slug
        relatives = [other for other in self.installed(families.get(row.family).engine) if other.family == row.family]
        return relatives[0].slug if relatives else None

    def requested_row(self, name: str | None) -> InferenceModel | None:
        """Return the checkpoint that a request's `model` names, or None if it leaves the choice open.

        Raises InvalidRequest, see `find_row`."""
        return None if name in (None, "", "auto") else self.find_row(str(name))

    def find_family(self, name: str) -> str | None:
        """Return the family of the checkpoint that `find_row` returns, or None."""
        try:
            return self.find_row(name).family
        except InvalidRequest:
            return None

    def has_installed(self, engine: str = DIFFUSION) -> bool:
        return self.default(engine) is not None

    def find(self, name: str | None, engine: str = DIFFUSION) -> ModelSpec:
        """Return the installed checkpoint of that name, or the engine's default for None.

        Raises InvalidRequest: `model_not_found`, `model_unavailable`, or `model_not_of_engine` for another engine's.
        """
        row = self.default(engine) if name is None else self.find_row(name)
        if row is None:
            raise InvalidRequest(no_model_message(engine), code="model_unavailable", field="model")
        if row.family not in families.names(engine=engine):
            raise InvalidRequest(
                sentence(
                    "{label} is a model of the family {family}, which this engine cannot paint "
                    "with; leave out the engine, or name another model.",
                    label=row.label,
                    family=row.family,
                ),
                code="model_not_of_engine",
                field="model",
                actual=row.slug,
            )
        row.check_installed()
        return row.spec

    def find_lora(self, slug: str, field: str = "loras") -> LoraSpec:
        """Return the LoRA of that slug. field: the setting that names it.

        Raises InvalidRequest, `lora_not_found`, which lists the slugs.
        """
        matching = [row for row in self.loras if row.slug == slug]
        if not matching:
            raise InvalidRequest(
                sentence("There is no LoRA of that name here; the LoRAs are: {known}.", known=list_slugs(self.loras)),
                code="lora_not_found",
                field=field,
            )
        return matching[0].spec

    def find_adapter(self, name: str, kind: Kind, field: str) -> ModelSpec:
        """Return the installed adapter with that slug or alias. field: the setting that names it.

        Raises InvalidRequest: `adapter_not_found`, which lists the slugs, or `model_unavailable`.
        """
        rows = self._by_kind(kind)
        matching = filter_by_name(rows, name)
        if not matching:
            raise InvalidRequest(
                sentence(
                    "There is no {kind} of that name here; there are: {known}.",
                    kind=ADAPTER_LABELS[kind],
                    known=list_slugs(rows),
                ),
                code="adapter_not_found",
                field=field,
            )
        matching[0].check_installed(field=field)
        return matching[0].spec

    def first_controlnet(self, model: str | None, control: ControlImageKind) -> str | None:
        """Return the slug of the first installed ControlNet of that kind for the family of a checkpoint; None without.

        model: the slug of an installed one; None for the default.
        """
        row = self.default() if model is None else self.find_row(model)
        if row is None:
            return None
        compatible = (net for net in self.adapters if net.kind == Kind.CONTROLNET and net.family == row.family)
        return next((net.slug for net in compatible if net.control == control), None)

    def preset_adapters(self, family: str) -> PresetAdapters:
        """Return the first LCM LoRA and the first tiny VAE of that family."""
        lora_family = families.lora_family(family)
        lcm = [row.slug for row in self.loras if (row.family, row.kind) == (lora_family, LoraKind.LCM)]
        vaes = [row for row in self.adapters if (row.family, row.kind) == (family, Kind.VAE)]
        tiny = [row.slug for row in vaes if row.weights is not None and class_name_in(row.weights) == TINY_VAE]
        return PresetAdapters(lora=next(iter(lcm), None), vae=next(iter(tiny), None))


_enabled_models = CompiledQuery(lambda: InferenceModel.objects.filter(enabled=True))
_installed_checkpoints = CompiledQuery(
    lambda: InferenceModel.objects.filter(enabled=True, kind=Kind.CHECKPOINT, state=ModelState.INSTALLED)
)
_enabled_loras = CompiledQuery(lambda: Lora.objects.filter(enabled=True))


def spellings(name: str) -> list[str]:
    """Return a name as sent; as web UIs show the file of a model, without its folder, hash and ending; and that as a
    slug."""
    without_hash = HASH.sub("", name)
    stem = ENDING.sub("", without_hash.replace("\\", "/").rpartition("/")[2])
    return list(dict.fromkeys([name, without_hash, stem, slugify(stem)]))


def first_found(name: str, find: Callable[[str], T]) -> T:
    """Return what is found by the first spelling of a name that finds something. Raises the error of the name as it
    is, or that which says how to install what it names."""
    errors: list[InvalidRequest] = []
    for each in spellings(name):
        try:
            return find(each)
        except InvalidRequest as error:
            errors.append(error)
    raise next((error for error in errors if error.code == "model_unavailable"), errors[0])


def filter_by_name(rows: list[InferenceModel], name: str) -> list[InferenceModel]:
    """Return the rows with that slug, or else those with that alias, or else those that it stands for.

    The aliases of a row are those with which it was added, by this release or an earlier one, or edited later.
    """
    return (
        [row for row in rows if row.slug == name]
        or [row for row in rows if name in row.names]
        or [row for row in rows if name in SHIPPED_ALIASES.get(row.slug, ())]
    )


def list_slugs(rows: list[InferenceModel] | list[Lora]) -> str:
    return ", ".join(row.slug for row in rows) or "none yet"
