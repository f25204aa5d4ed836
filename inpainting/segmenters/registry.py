"""The segmenters of this process, by name: one for each module beside this one."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from inpainting import segmenters as package
from inpainting.core.errors import InvalidRequest
from inpainting.segmenters.base import Segmenter

NO_SEGMENTERS = {"base", "geodesic", "registry"}
DEFAULT = "grabcut"


@cache
def segmenters() -> dict[str, Segmenter]:
    """Every segmenter by its name, made by `create` of its module."""
    names = (module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in NO_SEGMENTERS)
    made: list[Segmenter] = [import_module(f"{package.__name__}.{name}").create() for name in names]
    return {segmenter.name: segmenter for segmenter in made}


def find(name: str) -> Segmenter:
    """The segmenter of that name. Raises InvalidRequest, `segmenter_not_found`, which lists the names."""
    segmenter = segmenters().get(name)
    if segmenter is None:
        raise InvalidRequest(
            f"There is no segmenter called “{name[:60]}”; the segmenters are: {', '.join(segmenters())}.",
            code="segmenter_not_found",
            field="segmenter",
            actual=name[:60],
        )
    return segmenter
