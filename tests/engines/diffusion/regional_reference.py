"""Requests with regions, our denoising loop for them, and diffusers' network as a plain loop over their prompts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, pixel_unshuffle

from inpainting.catalog.specs import LoraSpec
from inpainting.core.adapter_uses import REGIONS, Region
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion import regional_prompts
from inpainting.engines.diffusion.latent_model import LatentModel

TEXT_ARGUMENTS = frozenset(
    {"encoder_hidden_states", "encoder_hidden_states_mask", "pooled_projections", "added_cond_kwargs", "cap_feats"}
    | {"txt_ids", "txt_seq_lens", "attention_mask"}
)
"""Arguments of the networks that a prompt changes."""
CHANNELS_OF_TOKENS = 2 * 2
"""Latent pixels of a token of a transformer."""

Calls = list[dict[str, Any]]


def with_regions(requested: InpaintRequest, *regions: tuple[Region, NDArray[np.uint8]]) -> InpaintRequest:
    """The request with these regions and their masks, [height, width]."""
    images = {name: CanonicalImage(mask[:, :, None]) for name, (_, mask) in zip(REGIONS.images, regions, strict=False)}
    settings = replace(requested.settings, regions=tuple(region for region, _ in regions))
    return replace(requested, settings=settings, conditioning_images={**requested.conditioning_images, **images})


def mask_of(requested: InpaintRequest, rows: slice, columns: slice, value: int = 255) -> NDArray[np.uint8]:
    mask = np.zeros(requested.mask.shape, np.uint8)
    mask[rows, columns] = value
    return mask


def two_regions(requested: InpaintRequest) -> InpaintRequest:
    """The request with two regions that overlap, off the grid of the latents; a part of the image is in neither."""
    return with_regions(
        requested,
        (Region("a blue boat"), mask_of(requested, slice(3, 45), slice(0, 27))),
        (Region("a cat", 0.6), mask_of(requested, slice(20, 64), slice(13, 50), 200)),
    )


def denoised(model: LatentModel, requested: InpaintRequest, loras: Sequence[LoraSpec] = ()) -> torch.Tensor:
    """The final latents of our loop. loras: of the request and of its regions."""
    adapters = regional_prompts.active_adapters(requested, loras, [])
    for lora in model.loras.missing(adapters.all_loras):
        model.loras.load(lora)
    prompts = regional_prompts.tokenize(model, requested, adapters=adapters)
    text, regions = prompts.encode(model, None)
    state, _ = model.start(requested, 0, text)
    state.regions, state.loras = regions, prompts.loras[0]
    while not state.is_done:
        (answer,) = regional_prompts.predict(model, [state])
        state.advance(answer)
    return state.latents


def do_nothing(number: int) -> None:
    """Takes no LoRAs."""


def reference_result(
    network: torch.nn.Module,
    requested: InpaintRequest,
    run: Callable[[InpaintRequest], torch.Tensor],
    switch: Callable[[int], None] = do_nothing,
) -> torch.Tensor:
    """The result of diffusers' pipeline, in whose network each call is one for each prompt, and their weighted mean.

    run: runs the pipeline with a request. switch: lets it take the LoRAs of the prompt of this number.
    """
    settings = requested.settings
    plain = replace(requested, settings=replace(settings, regions=()), conditioning_images={})
    masks = [
        torch.from_numpy(np.asarray(requested.conditioning_images[name].pixels, np.float32)[None, :, :, 0] / 255)
        for name in REGIONS.images[: len(settings.regions)]
    ]
    weights = [region.weight * avg_pool2d(mask, 8) for region, mask in zip(settings.regions, masks, strict=True)]
    weights = [(1 - sum(weights)).clamp(min=0), *weights]
    texts: list[Calls] = []
    for number, prompt in enumerate((settings.prompt, *(region.prompt for region in settings.regions))):
        switch(number)
        with recorded(network) as calls:
            run(replace(plain, settings=replace(plain.settings, prompt=prompt)))
        texts.append(calls)
    with looping(network, texts, [weight / sum(weights) for weight in weights], switch):
        return run(plain)


@contextmanager
def recorded(network: torch.nn.Module) -> Iterator[Calls]:
    """The arguments of a prompt in each call of a network."""
    calls: Calls = []
    forward, signature = network.forward, inspect.signature(network.forward)

    def call(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named).arguments
        calls.append({name: value for name, value in bound.items() if name in TEXT_ARGUMENTS})
        return forward(*given, **named)

    network.forward = call
    yield calls
    network.forward = forward


@contextmanager
def looping(
    network: torch.nn.Module, texts: Sequence[Calls], weights: Sequence[torch.Tensor], switch: Callable[[int], None]
) -> Iterator[None]:
    """Let each call of a network be one for each text, and return their weighted mean."""
    forward, signature = network.forward, inspect.signature(network.forward)
    numbers = iter(range(len(texts[0])))

    def call(*given: Any, **named: Any) -> Any:
        number, bound = next(numbers), signature.bind(*given, **named).arguments
        answers = []
        for prompt, calls in enumerate(texts):
            switch(prompt)
            answers.append(forward(**{**bound, **calls[number]})[0])
        return (mean_of(answers, weights),)

    network.forward = call
    yield
    network.forward = forward


def mean_of(answers: Sequence[Any], weights: Sequence[torch.Tensor]) -> Any:
    """The weighted mean. answers: [n, c, h, w], a list of [c, 1, h, w], or tokens, [n, tokens, channels], those of the
    latents first."""
    if isinstance(answers[0], list):
        return [mean_of(rows, weights) for rows in zip(*answers, strict=True)]
    if answers[0].shape[-2:] == weights[0].shape[-2:]:
        return sum(weight * answer for weight, answer in zip(weights, answers, strict=True))
    channels = answers[0].shape[-1] // CHANNELS_OF_TOKENS
    shares = [pixel_unshuffle(weight.expand(channels, -1, -1), 2).flatten(1).T for weight in weights]
    mean = answers[0].clone()
    count = len(shares[0])
    mean[:, :count] = sum(share * answer[:, :count] for share, answer in zip(shares, answers, strict=True))
    return mean
