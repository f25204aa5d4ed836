"""The segmenters by name: one for each module beside this one, and the segmentation models of the catalog."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from inpainting import segmenters as package
from inpainting.catalog.lookup import Catalog
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.families.declaration import SEGMENTATION
from inpainting.segmenters.base import Hint, Segmenter
from inpainting.segmenters.networks.catalog_segmenter import CatalogSegmenter, installed

NO_SEGMENTERS = {"base", "geodesic", "networks", "registry", "soft_edges", "walker"}
DEFAULT = "grabcut"
MAIN_OBJECT = "saliency"
"""The segmenter of the main object that needs no model."""


@cache
def segmenters() -> dict[str, Segmenter]:
    """The segmenters that need no model, by name, made by `create` of their module."""
    names = (module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in NO_SEGMENTERS)
    made: list[Segmenter] = [import_module(f"{package.__name__}.{name}").create() for name in names]
    return {segmenter.name: segmenter for segmenter in made}


def usable() -> list[Segmenter]:
    """Those that need no model, and the models that are installed."""
    return [*segmenters().values(), *installed(Catalog())]


def fitting(hints: frozenset[Hint], catalog: Catalog) -> list[Segmenter]:
    """The usable ones that read these hints, models first; without hints those that find the main object."""
    without_model = sorted(segmenters().values(), key=lambda segmenter: segmenter.name != DEFAULT)
    known: list[Segmenter] = [*installed(catalog), *without_model]
    return [each for each in known if hints <= each.reads and bool(hints) == bool(each.needs)]


def find(name: str) -> Segmenter:
    """The segmenter of that name: of a module, or else a model of the catalog.

    Raises InvalidRequest: `segmenter_not_found`, which lists the names, or `model_unavailable` with the command that
    installs the model.
    """
    segmenter = segmenters().get(name)
    if segmenter is not None:
        return segmenter
    catalog = Catalog()
    row = catalog.find_tool(name, SEGMENTATION)
    if row is None:
        names = [*segmenters(), *(row.slug for row in catalog.tools(SEGMENTATION))]
        raise InvalidRequest(
            sentence(
                "There is no segmenter called “{name}”; the segmenters are: {names}.",
                name=name[:60],
                names=", ".join(names),
            ),
            code="segmenter_not_found",
            field="segmenter",
            actual=name[:60],
        )
    return CatalogSegmenter(row.spec, is_installed=row.is_installed)
