"""Evicted models in the machine's memory, from which they come back without reading their files."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from inpainting.networks.device.memory import free_machine_bytes

if TYPE_CHECKING:
    from inpainting.engines.diffusion.latent_model import LatentModel

logger = logging.getLogger(__name__)


class HostMemory:
    """Used by the device's thread and the loader's.

    share: of the machine's free memory that evicted models may take, 0 to 1; 0 keeps none.
    """

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        self._lock = threading.Lock()
        self._models: OrderedDict[str, LatentModel] = OrderedDict()

    @property
    def byte_count(self) -> int:
        return sum(model.byte_count for model in self._models.values())

    def keep(self, model: LatentModel) -> None:
        """Move a model that nothing uses out of the device's memory, and drop those kept longest for it.

        An earlier version of it, from files that were replaced, is dropped. The model is dropped where it does not fit.
        """
        try:
            with self._lock:
                self._models.pop(model.spec.slug, None)
                room = int(self.share * (free_machine_bytes() + self.byte_count))
                if model.byte_count > room:
                    return
                while self.byte_count + model.byte_count > room:
                    self._models.popitem(last=False)
                model.leave_device()
                self._models[model.spec.slug] = model
        except Exception as error:
            logger.warning("%s is not kept in the machine's memory: %s", model.spec.slug, error)

    def make_room(self, wanted_bytes: int) -> None:
        """Drop models, those kept longest first, until they take no more than their share beside so many bytes more."""
        with self._lock:
            free = free_machine_bytes() + self.byte_count - wanted_bytes
            while self._models and self.byte_count > self.share * max(0, free):
                self._models.popitem(last=False)

    def drop_removed(self) -> None:
        """Drop models whose files are not there any more."""
        with self._lock:
            for slug, model in list(self._models.items()):
                if model.spec.path is None or not model.spec.path.exists():
                    del self._models[slug]

    def take(self, slug: str, fingerprint: int) -> LatentModel | None:
        """Remove and return the model from these files; None if it is not kept. One from other files is dropped."""
        with self._lock:
            model = self._models.pop(slug, None)
        return model if model is not None and model.fingerprint == fingerprint else None
