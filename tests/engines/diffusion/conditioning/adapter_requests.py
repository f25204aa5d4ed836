"""Shared by the tests of ControlNets and IP-Adapters: requests, our denoising loop and diffusers' pipelines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from inpainting.catalog.specs import ControlImageKind, Kind, LoraSpec, ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.conditioning.lora_adapters import active_loras
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, ddim_request, ignore_step, loaded_reference, run_reference

WITH_CONTROLNET: dict[str, type[Any]] = {
    "sd": diffusers.StableDiffusionControlNetInpaintPipeline,
    "sdxl": diffusers.StableDiffusionXLControlNetInpaintPipeline,
}
WITH_UNION: dict[str, type[Any]] = {"sdxl": diffusers.StableDiffusionXLControlNetUnionInpaintPipeline}
UNION_NUMBERS = {"openpose": 0, "depth": 1, "softedge": 2, "canny": 3, "segment": 5, "tile": 6, "inpaint": 7}
SENT = CanonicalImage(np.ascontiguousarray(data.coffee()[100:228:2, 200:328:2]))
"""A control image of the window's size."""
PROMPT = CanonicalImage(np.ascontiguousarray(data.chelsea()[::3, ::3]))
"""An image as a prompt, of another size and no square."""


def request(
    *, control_image: CanonicalImage | None = SENT, ip_adapter_image: CanonicalImage | None = PROMPT, **settings: Any
) -> InpaintRequest:
    """A request with a control image and an image prompt."""
    return ddim_request(
        control_image=control_image, ip_adapter_image=ip_adapter_image, **{"guidance_scale": 5.0, **settings}
    )


def batcher(max_rows: int = 32) -> Batcher:
    return Batcher(ModelCache(CPU, 10**9), max_rows=max_rows)


@cache
def shared_batcher() -> Batcher:
    """The batcher of tests that do not look at its cache, so that each of their models is loaded once."""
    return batcher()


def painted(
    engine: Batcher, requested: InpaintRequest, spec: ModelSpec, parts: Sequence[ModelSpec] = ()
) -> NDArray[np.uint8]:
    return engine.paint(naming(parts, requested), spec, ignore_step, (), parts)[0][0]


def naming(parts: Sequence[ModelSpec], requested: InpaintRequest) -> InpaintRequest:
    """The request with the IP-Adapter among the parts, where it names none."""
    adapters = [part.slug for part in parts if part.kind is Kind.IP_ADAPTER]
    if not adapters or requested.settings.ip_adapter_uses:
        return requested
    return replace(requested, settings=replace(requested.settings, ip_adapter=adapters[0]))


def denoised_latents(
    spec: ModelSpec,
    requested: Sequence[InpaintRequest],
    parts: Sequence[ModelSpec] = (),
    loras: Sequence[LoraSpec] = (),
    *,
    by: Batcher | None = None,
) -> list[torch.Tensor]:
    """The final latents of our loop, all requests in one batch."""
    loop = by or shared_batcher()
    jobs = [
        Job(naming(parts, sent), spec, ActiveAdapters(active_loras(sent.settings.loras, loras), tuple(parts)))
        for sent in requested
    ]
    loop.cache.get(spec)  # beside other models it would be loaded on another thread
    for job in jobs:
        loop.workload.add(job)
    admit_all(loop)
    (batch,) = loop.workload.batches
    states = [sample.state for sample in batch.samples]
    assert len(states) == len(requested)
    while not all(state.is_done for state in states):
        loop.run_once()
    return [state.latents for state in states]


def admit_all(loop: Batcher) -> None:
    """Start all waiting images; their adapters are loaded on another thread."""
    while loop.workload.waiting:
        loop.admission.admit()
        time.sleep(0.002)


def diffusers_result(
    spec: ModelSpec, requested: InpaintRequest, parts: Sequence[ModelSpec] = (), loras: Sequence[LoraSpec] = ()
) -> torch.Tensor:
    """The result of diffusers' pipeline with the adapters loaded by its own loader."""
    settings = requested.settings
    control = next((part for part in parts if part.kind is Kind.CONTROLNET), None)
    adapter = next((part for part in parts if part.kind is Kind.IP_ADAPTER), None)
    more: dict[str, Any] = {}
    if control is None:
        reference = loaded_reference(spec, requested)
    else:
        is_union = control.control is ControlImageKind.UNION
        network_class = diffusers.ControlNetUnionModel if is_union else diffusers.ControlNetModel
        network = network_class.from_pretrained(control.path)
        pipelines = WITH_UNION if is_union else WITH_CONTROLNET
        reference = loaded_reference(spec, requested, pipelines=pipelines, components={"controlnet": network})
        more = {
            "control_image": control_image(control, requested),
            "controlnet_conditioning_scale": 1.0 if settings.control_strength is None else settings.control_strength,
            "control_guidance_start": settings.control_start or 0.0,
            "control_guidance_end": 1.0 if settings.control_end is None else settings.control_end,
        }
        if is_union:
            more["control_mode"] = [UNION_NUMBERS[settings.control_type or "canny"]]
            more["control_image"] = [more["control_image"]]
    for lora in loras:
        assert lora.path is not None
        reference.load_lora_weights(str(lora.path.parent), weight_name=lora.path.name, adapter_name=lora.slug)
    if loras:
        reference.set_adapters([lora.slug for lora in loras], [use.weight for use in settings.loras])
    if adapter is not None:
        assert requested.conditioning_images.get("ip_adapter_image") is not None
        reference.load_ip_adapter(
            str(adapter.path), subfolder="models", weight_name=f"{adapter.slug}.safetensors", local_files_only=True
        )
        reference.set_ip_adapter_scale(1.0 if settings.ip_adapter_scale is None else settings.ip_adapter_scale)
        more["ip_adapter_image"] = Image.fromarray(np.asarray(requested.conditioning_images["ip_adapter_image"].pixels))
    latents: torch.Tensor = run_reference(reference, spec, requested, **more)
    return latents


def control_image(spec: ModelSpec, requested: InpaintRequest) -> Any:
    """The control image as diffusers' documentation prepares it."""
    import cv2

    window = np.asarray(requested.image.pixels)
    if spec.control is ControlImageKind.UNION:
        kind = ControlImageKind(requested.settings.control_type or "canny")
        if kind is ControlImageKind.INPAINT:
            return Image.fromarray(np.where(requested.mask[:, :, None] > 127, np.uint8(0), window))
        return control_image(replace(spec, control=kind), requested)
    if spec.control is ControlImageKind.INPAINT:
        shares = window.astype(np.float32) / 255.0
        shares[requested.mask.astype(np.float32) / 255.0 > 0.5] = -1.0
        return torch.from_numpy(shares.transpose(2, 0, 1)[None])
    if spec.control is ControlImageKind.CANNY:
        edges = cv2.Canny(window, 100, 200)[:, :, None]
        return Image.fromarray(np.concatenate([edges, edges, edges], axis=2))
    return Image.fromarray(np.asarray((requested.conditioning_images.get("control_image") or requested.image).pixels))


def close(denoised_latents: torch.Tensor, diffusers_result: torch.Tensor) -> None:
    torch.testing.assert_close(denoised_latents, diffusers_result, rtol=1e-4, atol=1e-4)


def differ(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    return not torch.allclose(tensor, other, atol=1e-2)
