"""What this process can load of the models, adapters and LoRAs that the site has, and why not the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.conf import settings

from inpainting import families
from inpainting.catalog.rows.inference_model import InferenceModel, ModelState
from inpainting.catalog.rows.lora import Lora
from inpainting.catalog.specs import Kind
from inpainting.core.setting import DIFFUSION, ERASE
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.families.declaration import CAPTIONS, PREPROCESSING, SEGMENTATION
from inpainting.networks import interrupted_loads
from inpainting.networks.device.memory import gpu_bytes, machine_memory_bytes
from inpainting.networks.device.quantization import OFF
from inpainting.networks.files import fingerprint

GB = 2**30
TRY_AGAIN_SECONDS = 300.0
"""The time after which a load that failed is tried again though the files are the same: a network folder may have been
away. Each further failure doubles it, so that workers that all fail come to know it of each other."""
USED_BY = {
    **dict.fromkeys((DIFFUSION, PREPROCESSING), (Queue.GPU,)),
    **dict.fromkeys((ERASE, SEGMENTATION, CAPTIONS), (Queue.CPU,)),
}
"""The engine or use of a family -> the queues whose workers load its models; the others are loaded by both."""


@dataclass(frozen=True, slots=True)
class FailedLoad:
    """A load that failed. files: as of `_files_of`. until: when it is tried again, of a monotonic clock."""

    reason: str
    files: tuple[int, int]
    pause_seconds: float
    until: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this process can load, by slug.

    absent: those whose files, or library, are not here. unfit: those that it refused, or that its memory is too small
    for, each with the reason.
    """

    loadable: frozenset[str] = frozenset()
    absent: Mapping[str, str] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)

    @property
    def lacking(self) -> dict[str, str]:
        """What it cannot load, with the reasons."""
        return {**self.absent, **self.unfit}


_failed: dict[str, FailedLoad] = {}
_lock = threading.Lock()


def record_failed_load(slug: str, reason: str) -> None:
    """Remember that the files of a model or adapter could not be loaded here, until they change or some time later."""
    files, now, pause = _files_of(slug), time.monotonic(), TRY_AGAIN_SECONDS
    with _lock:
        if (former := _failed.get(slug)) is not None and former.files == files:
            # Several may fail at the same time.
            pause = former.pause_seconds * (2 if former.until <= now else 1)
        _failed[slug] = FailedLoad(reason, files, pause, now + pause)


def _files_of(slug: str) -> tuple[int, int]:
    """Return the fingerprints of the files of the model and of the LoRA of that name."""
    return fingerprint(InferenceModel(slug=slug).weights), fingerprint(Lora(slug=slug).path)


def find_capabilities() -> Capabilities:
    """Look at the catalog, and at the files of what the queues of this process need. Imports no heavy library."""
    loadable, absent, unfit = set(), {}, {}
    for row in _needed_rows():
        if reason := _why_absent(row):
            absent[row.slug] = reason
        elif reason := _why_unfit(row):
            unfit[row.slug] = reason
        else:
            loadable.add(row.slug)
    return Capabilities(frozenset(loadable), absent, unfit)


def _needed_rows() -> Iterator[InferenceModel | Lora]:
    for model in InferenceModel.objects.filter(enabled=True, state=ModelState.INSTALLED):
        is_known = model.family in families.registry  # which is not so of a row of a later version
        if is_known and not {*settings.QUEUES}.isdisjoint(USED_BY.get(_engine_of(model), (Queue.CPU, Queue.GPU))):
            yield model
    if Queue.GPU in settings.QUEUES:
        yield from Lora.objects.filter(enabled=True)


def _engine_of(row: InferenceModel | Lora) -> str:
    is_checkpoint = isinstance(row, InferenceModel) and row.kind == Kind.CHECKPOINT
    return families.get(row.family).engine if is_checkpoint else DIFFUSION


def _why_absent(row: InferenceModel | Lora) -> str:
    engine = registry.engines().get(_engine_of(row))
    if engine is not None and not engine.declaration.is_installed:
        return f"{engine.declaration.library} is not installed"
    is_here = row.path.is_file() if isinstance(row, Lora) else row.weights is not None
    return "" if is_here else "it has no files here"


def _why_unfit(row: InferenceModel | Lora) -> str:
    path = row.path if isinstance(row, Lora) else row.weights
    if interrupted_loads.is_refused(row.slug, path):
        return "the process crashed while loading it"
    with _lock:
        failed = _failed.get(row.slug)
        if failed is not None and failed.until > time.monotonic() and failed.files == _files_of(row.slug):
            return failed.reason
    needed, has = getattr(row, "memory_bytes", None) or 0, device_bytes()
    if _engine_of(row) == DIFFUSION and needed > has and settings.DIFFUSION_QUANTIZATION == OFF:
        return f"it needs {needed / GB:.0f} GB of memory, of which there are {has / GB:.0f}"
    return ""


def device_name() -> str:
    """Return the device of this process: of `serve --devices`, else that which the settings choose for the diffusion
    engine; empty where that queue is not served.
    """
    if settings.DEVICE_NAME:
        return str(settings.DEVICE_NAME)
    if Queue.GPU not in settings.QUEUES:
        return ""
    if settings.DIFFUSION_DEVICE != "auto":
        return str(settings.DIFFUSION_DEVICE)
    return "cuda" if gpu_bytes("auto") else "cpu"


def device_bytes() -> int:
    """Return the memory for models of that device: as DREAMLAYER_DIFFUSION_MEMORY_MB says, else all that it has."""
    declared = int(settings.DIFFUSION_MEMORY_MB) * 10**6
    return declared or gpu_bytes(settings.DIFFUSION_DEVICE) or machine_memory_bytes()
