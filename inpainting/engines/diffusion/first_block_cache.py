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

import torch
from diffusers import FirstBlockCacheConfig, Flux2Transformer2DModel
from diffusers.hooks import HookRegistry
from diffusers.hooks.first_block_cache import _FBC_BLOCK_HOOK, FBCBlockHook

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
            enable(network, THRESHOLDS[level])
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


class JointTailHook(FBCBlockHook):  # type: ignore[misc]  # diffusers ships no types
    """The hook of a last block that returns text and image as one tensor, where the first returns a pair.

    diffusers' own takes the output of the last block to be of the first one's kind, and fails.
    """

    def new_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        state = self.state_manager.get_state()
        if not state.should_compute:
            return super().new_forward(module, *args, **kwargs)
        output = self.fn_ref.original_forward(*args, **kwargs)
        image, text = state.head_block_output
        count = text.shape[1]
        state.tail_block_residuals = (output[:, count:] - image, output[:, :count] - text)
        return output


def enable(network: Any, threshold: float) -> None:
    """Let steps skip blocks, by diffusers' hooks, until `network.disable_cache()`. threshold: as of THRESHOLDS."""
    network.enable_cache(FirstBlockCacheConfig(threshold))
    if isinstance(network, Flux2Transformer2DModel):
        last = HookRegistry.check_if_exists_or_initialize(network.single_transformer_blocks[-1])
        states = last.get_hook(_FBC_BLOCK_HOOK).state_manager
        last.remove_hook(_FBC_BLOCK_HOOK, recurse=False)
        last.register_hook(JointTailHook(states, is_tail=True), _FBC_BLOCK_HOOK)
