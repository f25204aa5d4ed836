"""A model of the catalog as a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from inpainting.catalog import families
from inpainting.catalog.families import SEGMENTATION
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.picture import Mask, Picture
from inpainting.engines.loaded_models import loaded_models
from inpainting.segmenters.base import Candidate, Hint, LoadsModel, Selection, UsesOthers


class Networks(Protocol):
    """How the models of one family are loaded and run. `reads` and `needs` as of a Segmenter."""

    @property
    def reads(self) -> frozenset[Hint]: ...

    @property
    def needs(self) -> frozenset[Hint]: ...

    def load(self, spec: ModelSpec, path: Path) -> Any: ...

    def candidates(self, loaded: Any, spec: ModelSpec, picture: Picture, selection: Selection) -> list[Candidate]: ...


class CatalogSegmenter:
    """A segmentation model. Raises InvalidRequest, `model_unavailable`, where it is not installed.

    is_installed: True also where the workers have its files and this process has not.
    """

    def __init__(self, spec: ModelSpec, *, is_installed: bool = True) -> None:
        if not is_installed:
            raise InvalidRequest(install_hint(spec.slug, spec.label), code="model_unavailable", field="segmenter")
        self.spec, self.path = spec, spec.path
        self.name, self.label = spec.slug, spec.label
        self.networks: Networks = families.get(spec.family).load_implementation()
        self.reads, self.needs = self.networks.reads, self.networks.needs

    def segment(self, picture: Picture, selection: Selection) -> Mask:
        return self.candidates(picture, selection)[0].mask

    def candidates(self, picture: Picture, selection: Selection) -> list[Candidate]:
        return self.networks.candidates(self.loaded(), self.spec, picture, selection)

    def others(self, selection: Selection) -> Sequence[LoadsModel]:
        return self.networks.others(selection) if isinstance(self.networks, UsesOthers) else ()

    def loaded(self) -> Any:
        """The model, loaded by the family's `load`. Raises EngineFailed where it cannot be loaded."""
        if self.path is None:
            raise EngineFailed(install_hint(self.spec.slug, self.label), code="model_unavailable")
        try:
            return loaded_models.get(self.networks.load, self.spec, self.path)
        except ModuleNotFoundError as error:
            message = (
                f"This light installation lacks {error.name}, which {self.label} needs; see “Install” in README.md."
            )
            raise EngineFailed(message, code="model_unavailable") from error


def installed(catalog: Catalog) -> list[CatalogSegmenter]:
    """The segmentation models that are installed, here or, where this is a web process, at the workers."""
    rows = [row for row in catalog.tools(SEGMENTATION) if row.is_installed]
    return [CatalogSegmenter(row.spec, is_installed=True) for row in rows]
