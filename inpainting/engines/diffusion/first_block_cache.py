"""First-block caching: a step in which the first block of a transformer changes little skips the other blocks.

By diffusers' hooks (huggingface.co/docs/diffusers/optimization/para_attn). The first block runs in each step. Where its
residual differs from that of the last step that was computed whole by less than a threshold, in the mean over all
tokens, the other blocks are taken to add what they added then. The comparison waits for the device once in each step.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import FirstBlockCacheConfig

from inpainting.engines.diffusion.sampling.denoising import DenoisingState

THRESHOLDS = {"balanced": 0.08, "fast": 0.12}
"""Relative differences by the setting `cache`. 0.08 is ParaAttention's default for FLUX.1, with which it reports half
the time for 28 steps; 0.12 is that of the first nodes for ComfyUI."""


class FirstBlockCache:
    """What the blocks of a network added in the last whole step of one image.

    It holds for one image at a time: the next image, or a step with another number of rows, begins anew.
    """

    def __init__(self) -> None:
        self._network: Any = None
        """The network whose blocks have hooks; None where none has."""
        self._image: weakref.ref[DenoisingState] | None = None
        self._rows = 0

    @property
    def is_applied(self) -> bool:
        return self._network is not None

    @contextmanager
    def applied(self, network: Any, image: DenoisingState, level: str) -> Iterator[None]:
        """Let the steps inside the context use the cache. level: a key of THRESHOLDS."""
        if not self.is_applied or self._image is None or self._image() is not image or self._rows != image.rows:
            self.remove()
            network.enable_cache(FirstBlockCacheConfig(THRESHOLDS[level]))
            self._network, self._image, self._rows = network, weakref.ref(image), image.rows
        try:
            with network.cache_context("image"):
                yield
        except BaseException:
            self.remove()  # it may be half changed
            raise

    def remove(self) -> None:
        """Free the cache, and let all blocks run in each step."""
        if self._network is not None:
            self._network.disable_cache()
        self._network = self._image = None
