"""The models in memory that are no engine's: loaded with their first image, evicted by more recently used ones."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inpainting import families, metrics
from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core.errors import EngineFailed

MAX_LOADED = 2
"""Models in memory at once: one that finds by words and one that outlines."""

Load = Callable[[ModelSpec, Path], Any]


class LoadedModels:
    """The most recently used models. One whose files have changed is loaded again.

    A thread waits for the load of its own model alone.
    """

    def __init__(self) -> None:
        self._loaded: OrderedDict[Path, tuple[int, str, Any]] = OrderedDict()
        """Path -> when the file was modified, the model's slug, the model."""
        self._lock = threading.Lock()
        self._loading: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

    def of(self, spec: ModelSpec) -> Any:
        """The model of the catalog, loaded by its family's `load`.

        Raises EngineFailed, `model_unavailable`, without its files and in a light installation; and what `load` raises.
        """
        if spec.path is None:
            raise EngineFailed(install_hint(spec.slug, spec.label), code="model_unavailable")
        try:
            return self.get(families.get(spec.family).load_implementation().load, spec, spec.path)
        except ModuleNotFoundError as error:
            message = (
                f"This light installation lacks {error.name}, which {spec.label} needs; see “Install” in README.md."
            )
            raise EngineFailed(message, code="model_unavailable") from error

    def get(self, load: Load, spec: ModelSpec, path: Path) -> Any:
        """The model of these files, loaded by `load` at the first call. Raises the errors of `load`."""
        with self._lock:
            loading = self._loading[path]
        with loading:
            modified_at = path.stat().st_mtime_ns if path.exists() else 0
            with self._lock:
                found = self._loaded.pop(path, None)
                if found is not None and found[0] == modified_at:
                    self._loaded[path] = found
                    return found[2]
                self._evict(MAX_LOADED - 1)
            with metrics.MODEL_LOAD_SECONDS.labels(spec.slug, "disk").time():
                loaded = load(spec, path)
            with self._lock:
                self._loaded[path] = modified_at, spec.slug, loaded
                self._evict(MAX_LOADED)  # another thread may have loaded one meanwhile
        return loaded

    def _evict(self, count: int) -> None:
        """Keep so many of the models. The caller holds the lock."""
        while len(self._loaded) > count:
            _, (_, slug, _) = self._loaded.popitem(last=False)
            metrics.MODEL_EVICTIONS.labels(slug).inc()


loaded_models = LoadedModels()
