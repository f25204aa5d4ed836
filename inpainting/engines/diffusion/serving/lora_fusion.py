"""The decision which LoRAs are fused: those that steps are about to be taken with, where memory has room for them."""

from __future__ import annotations

import logging

from inpainting.engines.diffusion.backends.torch import TORCH
from inpainting.engines.diffusion.serving.jobs import StepBatch
from inpainting.engines.diffusion.serving.workload import Workload
from inpainting.networks.device.hardware import Offload, is_out_of_memory

logger = logging.getLogger(__name__)

FEWEST_STEPS = 4
"""Steps for which LoRAs are fused at least: fusing takes about as long as hooks add to one or two steps."""


def fuse_loras(batch: StepBatch, workload: Workload) -> None:
    """Fuse the LoRAs of a batch before its step, if that pays off and there is room for the fused weights.

    A model holds one fused set. It stays until no batch uses it and another set is fused, or until the memory is
    needed; batches with other LoRAs or none take turns with it, which costs no computation.
    """
    loras, model = batch.adapters.loras, batch.model
    held = model.loras
    if not loras or held.fused == loras or not is_fusable(batch):
        return
    if held.fused and any(other.adapters.loras == held.fused for other in workload.batches if other.model is model):
        return
    byte_count = held.bytes_to_fuse(loras, model.network)
    if not byte_count or not workload.cache.has_room_to_fuse(byte_count - held.fused_byte_count):
        return
    try:
        held.fuse(loras, model.network)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("Memory was short for fusing LoRAs of %s", model.spec.slug)
        held.unfuse(for_good=True)
        workload.cache.hardware.empty_cache()


def is_fusable(batch: StepBatch) -> bool:
    """Whether torch computes enough steps of a batch with weights that stay in the device's memory."""
    model, states = batch.model, [sample.state for sample in batch.samples]
    steps = max((len(state.schedule) - state.index for state in states), default=0)
    is_whole = model.offload is Offload.NONE and not model.memory_fallbacks
    return is_whole and batch.backend is TORCH and steps >= FEWEST_STEPS
