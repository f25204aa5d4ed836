"""Looks models, LoRAs and adapters up by the names that requests use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from inpainting.catalog import families
from inpainting.catalog.families import DIFFUSION
from inpainting.catalog.inspection.adapter_files import TINY_VAE, class_name_in
from inpainting.catalog.rows.inference_model import InferenceModel, ModelState
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.shipped import no_model_sentence
from inpainting.catalog.specs import DraftParts, Kind, LoraKind, LoraSpec, ModelSpec
from inpainting.core.errors import InvalidRequest


class Catalog:
    """The models, adapters and LoRAs that are switched on, as engines know them.

    Rows are read once, at the first lookup, and not again: make a catalog for each request. Every lookup raises
    InvalidRequest, which lists what there is or says how to install it.
    """

    @cached_property
    def _models(self) -> list[InferenceModel]:
        """Models and adapters, in the order of their rows."""
        return list(InferenceModel.objects.filter(enabled=True))

    @cached_property
    def _loras(self) -> list[Lora]:
        return Lora.offered()

    def find(self, name: str | None, engine: str = DIFFUSION) -> ModelSpec:
        """The installed model of that slug or alias, for that engine; None is the engine's default model."""
        model = next(self._installed(engine), None) if name is None else self._named(name)
        if model is None:
            raise InvalidRequest(no_model_sentence(engine), code="model_unavailable", field="model")
        if model.family not in families.names(engine=engine):
            raise InvalidRequest(
                f"{model.label} is a model of the family {model.family}, which this engine cannot paint with; "
                "leave the engine to us, or name another model.",
                code="model_not_of_engine",
                field="model",
                actual=model.slug,
            )
        model.check_installed()
        return model.spec

    def find_lora(self, slug: str) -> LoraSpec:
        return Lora.find(slug, self._loras).spec

    def find_part(self, name: str, kind: Kind, field: str) -> ModelSpec:
        """The installed adapter of that slug or alias. field: the setting that names it, for errors."""
        return InferenceModel.find_part(name, kind, field=field, rows=self._offered(kind)).spec

    def draft_parts(self, family: str) -> DraftParts:
        """The first LCM LoRA and the first tiny VAE of that family."""
        lcm = [lora.slug for lora in self._loras if (lora.family, lora.kind) == (family, LoraKind.LCM)]
        vaes = [row for row in self._models if (row.family, row.kind) == (family, Kind.VAE) and row.is_installed]
        tiny = [vae.slug for vae in vaes if vae.weights is not None and class_name_in(vae.weights) == TINY_VAE]
        return DraftParts(lora=next(iter(lcm), None), vae=next(iter(tiny), None))

    def any_installed(self, engine: str = DIFFUSION) -> bool:
        """Whether the engine has a model."""
        return next(self._installed(engine), None) is not None

    def family_of(self, name: str) -> str | None:
        """The family of the model of that name, installed or not; None where there is none."""
        try:
            return self._named(name).family
        except InvalidRequest:
            return None

    def _named(self, name: str) -> InferenceModel:
        return InferenceModel.find(name, self._offered(Kind.CHECKPOINT))

    def _offered(self, kind: Kind) -> list[InferenceModel]:
        """See `InferenceModel.offered`."""
        return [row for row in self._models if row.kind == kind and row.family in families.generating()]

    def _installed(self, engine: str) -> Iterator[InferenceModel]:
        """See `InferenceModel.ready`."""
        of_engine = families.names(engine=engine)
        rows = [row for row in self._models if row.kind == Kind.CHECKPOINT and row.family in of_engine]
        rows = [row for row in rows if row.state == ModelState.INSTALLED]
        return (row for row in sorted(rows, key=lambda row: not row.is_fallback) if row.is_installed)
