"""A model of the catalog as a segmenter: loaded with its first picture, evicted by more recently used ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

from inpainting.catalog import families
from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core.errors import InvalidRequest
from inpainting.core.picture import Mask, Picture
from inpainting.segmenters.base import Candidate, Hint, Selection

MAX_LOADED = 2
"""Models in memory at once: one that finds by words and one that outlines."""


class Networks(Protocol):
    """How the models of one family are loaded and run. `reads` and `needs` as of a Segmenter."""

    @property
    def reads(self) -> frozenset[Hint]: ...

    @property
    def needs(self) -> frozenset[Hint]: ...

    def load(self, spec: ModelSpec, path: Path) -> Any: ...

    def candidates(self, loaded: Any, spec: ModelSpec, picture: Picture, selection: Selection) -> list[Candidate]: ...


class CatalogSegmenter:
    """A segmentation model. Raises InvalidRequest, `model_unavailable`, where it is not installed."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.path is None:
            raise InvalidRequest(install_hint(spec.slug, spec.label), code="model_unavailable", field="segmenter")
        self.spec, self.path = spec, spec.path
        self.name, self.label = spec.slug, spec.label
        self.networks: Networks = families.get(spec.family).load_implementation()
        self.reads, self.needs = self.networks.reads, self.networks.needs

    def segment(self, picture: Picture, selection: Selection) -> Mask:
        return self.candidates(picture, selection)[0].mask

    def candidates(self, picture: Picture, selection: Selection) -> list[Candidate]:
        return self.networks.candidates(self.loaded(), self.spec, picture, selection)

    def loaded(self) -> Any:
        """What the family's `load` returns. Raises EngineFailed where it cannot be loaded."""
        return loaded_models.get(self.networks, self.spec, self.path)


class LoadedModels:
    """The most recently used models of this process. One whose files have changed is loaded again."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[Path, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, networks: Networks, spec: ModelSpec, path: Path) -> Any:
        with self._lock:
            modified_at = path.stat().st_mtime_ns if path.exists() else 0
            loaded = self._loaded.pop(path, None)
            if loaded is None or loaded[0] != modified_at:
                while len(self._loaded) >= MAX_LOADED:
                    self._loaded.popitem(last=False)
                loaded = modified_at, networks.load(spec, path)
            self._loaded[path] = loaded
        return loaded[1]


loaded_models = LoadedModels()
