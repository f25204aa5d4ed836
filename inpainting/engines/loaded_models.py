"""The models in memory that are no engine's: loaded with their first picture, evicted by more recently used ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inpainting.catalog.specs import ModelSpec

MAX_LOADED = 2
"""Models in memory at once: one that finds by words and one that outlines."""

Load = Callable[[ModelSpec, Path], Any]


class LoadedModels:
    """The most recently used models. One whose files have changed is loaded again."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[Path, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, load: Load, spec: ModelSpec, path: Path) -> Any:
        """What `load` returned for these files. Raises what `load` raises."""
        with self._lock:
            modified_at = path.stat().st_mtime_ns if path.exists() else 0
            loaded = self._loaded.pop(path, None)
            if loaded is None or loaded[0] != modified_at:
                while len(self._loaded) >= MAX_LOADED:
                    self._loaded.popitem(last=False)
                loaded = modified_at, load(spec, path)
            self._loaded[path] = loaded
        return loaded[1]


loaded_models = LoadedModels()
