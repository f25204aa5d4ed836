"""A model of the catalog as a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from inpainting import families
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.families.declaration import SEGMENTATION
from inpainting.networks.device.choice import or_on_cpu
from inpainting.networks.network_cache import network_cache
from inpainting.segmenters.base import Candidate, Hint, LoadsModel, Selection, UsesOthers


class Networks(Protocol):
    """How the models of one family are loaded and run. `reads` and `needs` as of a Segmenter."""

    @property
    def reads(self) -> frozenset[Hint]: ...

    @property
    def needs(self) -> frozenset[Hint]: ...

    def load(self, spec: ModelSpec, path: Path) -> Any: ...

    def candidates(
        self, loaded: Any, spec: ModelSpec, image: CanonicalImage, selection: Selection
    ) -> list[Candidate]: ...


class CatalogSegmenter:
    """A segmentation model. Raises InvalidRequest, `model_unavailable`, where it is not installed.

    is_installed: True also where the workers have its files and this process has not.
    """

    def __init__(self, spec: ModelSpec, *, is_installed: bool = True) -> None:
        if not is_installed:
            raise InvalidRequest(install_hint(spec.slug, spec.label), code="model_unavailable", field="segmenter")
        self.spec = spec
        self.name, self.label = spec.slug, spec.label
        self.networks: Networks = families.get(spec.family).load_implementation()
        self.reads, self.needs = self.networks.reads, self.networks.needs

    def segment(self, image: CanonicalImage, selection: Selection) -> Mask:
        return self.candidates(image, selection)[0].mask

    def candidates(self, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        return or_on_cpu(lambda: self.networks.candidates(self.loaded(), self.spec, image, selection))

    def others(self, selection: Selection) -> Sequence[LoadsModel]:
        return self.networks.others(selection) if isinstance(self.networks, UsesOthers) else ()

    def loaded(self) -> Any:
        """The model, loaded by the family's `load`. Raises EngineFailed where it cannot be loaded."""
        return network_cache.of(self.spec)


def installed(catalog: Catalog) -> list[CatalogSegmenter]:
    """The segmentation models that are installed, here or, where this is a web process, at the workers."""
    rows = [row for row in catalog.tools(SEGMENTATION) if row.is_installed]
    return [CatalogSegmenter(row.spec, is_installed=True) for row in rows]
