"""The networks in memory that are no models of the diffusion engine: loaded with their first image, kept by use."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inpainting import families, metrics
from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.families.layouts import TransformersLayout, WeightsLayout
from inpainting.networks import interrupted_loads
from inpainting.networks.device.choice import computing_on, current_device, or_on_cpu
from inpainting.networks.device.memory import CPU, free_device_bytes, memory_bytes
from inpainting.networks.files import fingerprint, weights_bytes

MACHINE_SHARE, DEVICE_SHARE = 0.25, 0.1
"""The shares of the machine's and of a GPU's memory that the networks may take, beside `WEIGHTS_SHARE` of `hardware`
for the models of the diffusion engine."""
ROOM_FACTOR = 2
"""A network is loaded into the memory of a GPU where so many times the bytes of its weights are free: what it computes
needs room, too."""

Load = Callable[[ModelSpec, Path], Any]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedNetwork:
    """A network in memory."""

    slug: str
    fingerprint: int
    """The fingerprint of the files that it was read from."""
    byte_count: int
    """The bytes of its weights."""
    network: Any


def limit_bytes(device: str) -> int:
    """The memory of a device that the networks may take."""
    return int(memory_bytes(device) * (MACHINE_SHARE if device == CPU else DEVICE_SHARE))


class NetworkCache:
    """The most recently used networks, on each device as many as fit into its limit, and at least one.

    Those whose files have changed are loaded again. A thread waits for the load of its own network alone.
    """

    def __init__(self, limit: Callable[[str], int] = limit_bytes) -> None:
        """limit: the bytes for the networks of a device."""
        self._limit = limit
        self._loaded: OrderedDict[tuple[Path, str], LoadedNetwork] = OrderedDict()
        """The networks by path and device, the least recently used first."""
        self._lock = threading.Lock()
        self._loading: defaultdict[tuple[Path, str], threading.Lock] = defaultdict(threading.Lock)

    def of(self, spec: ModelSpec) -> Any:
        """The network of a model of the catalog, loaded by its family's `load`: by torch on the current device.

        Raises EngineFailed, `model_unavailable`, without its files and in a light installation; and what `load` raises.
        """
        path = spec.path
        if path is None:
            raise EngineFailed(install_hint(spec.slug, spec.label), code="model_unavailable")
        family = families.get(spec.family)
        is_torch = isinstance(family.layout, TransformersLayout | WeightsLayout)
        try:
            load = family.load_implementation().load
            return or_on_cpu(lambda: self.get(load, spec, path, self._device_for(path) if is_torch else CPU))
        except ModuleNotFoundError as error:
            message = sentence(
                "This light installation lacks {library}, which {model} needs; see “Install” in README.md.",
                library=error.name,
                model=spec.label,
            )
            raise EngineFailed(message, code="model_unavailable") from error

    def get(self, load: Load, spec: ModelSpec, path: Path, device: str = CPU) -> Any:
        """The network of these files on a device, loaded by `load` at the first call.

        Raises the errors of `load`, and EngineFailed, `model_crashed_worker`, where that has crashed the process.
        """
        key = path, device
        with self._lock:
            loading = self._loading[key]
        with loading:
            read_from = fingerprint(path)
            if (known := self._take(key, read_from)) is not None:
                return known.network
            byte_count, limit = weights_bytes(path), self._limit(device)
            self.evict_to(device, limit - byte_count)
            timed = metrics.MODEL_LOAD_SECONDS.labels(spec.slug, "disk").time()
            with interrupted_loads.recorded(spec, read_from), timed, computing_on(device):
                network = load(spec, path)
            with self._lock:
                self._loaded[key] = LoadedNetwork(spec.slug, read_from, byte_count, network)
                self._evict(device, limit, kept=1)  # another thread may have loaded one meanwhile
        return network

    def used_bytes(self, device: str) -> int:
        """The bytes of all weights on a device."""
        with self._lock:
            return self._used_bytes(device)

    def evict_to(self, device: str, byte_count: int) -> bool:
        """Evict networks of a device, the least recently used first, until the others take at most so many bytes.

        Those that compute keep their memory until they have done so. False if nothing had to be evicted.
        """
        with self._lock:
            return self._evict(device, byte_count)

    def _device_for(self, path: Path) -> str:
        """The current device where the network is loaded, or can be; else the CPU."""
        device = current_device()
        if device == CPU or (path, device) in self._loaded:
            return device
        on_cpu = self._loaded.get((path, CPU))
        byte_count = weights_bytes(path) if on_cpu is None else on_cpu.byte_count  # the headers are read once
        return device if free_device_bytes(device) >= ROOM_FACTOR * byte_count else CPU

    def _take(self, key: tuple[Path, str], read_from: int) -> LoadedNetwork | None:
        """The network, from now on the most recently used one; None, and it is dropped, if its files have changed."""
        with self._lock:
            known = self._loaded.pop(key, None)
            if known is None or known.fingerprint != read_from:
                return None
            self._loaded[key] = known
            return known

    def _evict(self, device: str, byte_count: int, kept: int = 0) -> bool:
        """Evict as `evict_to` does, but keep so many networks in any case. The caller holds the lock."""
        keys = [key for key in self._loaded if key[1] == device]
        evictable = keys[: len(keys) - kept]
        is_evicted = False
        while evictable and self._used_bytes(device) > byte_count:
            metrics.MODEL_EVICTIONS.labels(self._loaded.pop(evictable.pop(0)).slug).inc()
            is_evicted = True
        return is_evicted

    def _used_bytes(self, device: str) -> int:
        return sum(loaded.byte_count for (_, where), loaded in self._loaded.items() if where == device)


network_cache = NetworkCache()
