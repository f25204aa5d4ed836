"""The prompts of a request and of its regions, with their LoRAs, on their way to the network.

`regional_texts` has the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.adapter_uses import REGIONS, Region
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.active_adapters import NO_ADAPTERS, ActiveAdapters
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras, active_loras
from inpainting.engines.diffusion.conditioning.regional_texts import RegionalTexts
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning, TokenizedPrompts
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR
from inpainting.engines.diffusion.sampling.denoising import DenoisingState


@dataclass(frozen=True, slots=True, eq=False)
class RequestPrompts:
    """The prompts of a request that have an effect, tokenised: the first one, and those of the other regions.

    requests: the request with each prompt and its LoRAs. loras: those of them that are active. weights: see
    `weights_of`.
    """

    requests: tuple[InpaintRequest, ...]
    prompts: tuple[TokenizedPrompts, ...]
    loras: tuple[ActiveLoras, ...]
    weights: NDArray[np.float32]

    @property
    def chunk_count(self) -> int:
        """See `TokenizedPrompts`; of the longest prompt, as all of them take the step together."""
        return max(prompts.chunk_count for prompts in self.prompts)

    @property
    def notes(self) -> list[str]:
        """Sentences for the metadata. An embedding is ignored where it is in none of the prompts."""
        ignored = set.intersection(*(set(prompts.ignored_embeddings) for prompts in self.prompts))
        notes = [note for prompts in self.prompts for note in prompts.notes]
        return [*dict.fromkeys(notes), *(note for note in self.prompts[0].ignored_embeddings if note in ignored)]

    def encode(
        self, model: LatentModel, image_prompts: ImagePrompts | None
    ) -> tuple[TextConditioning, RegionalTexts | None]:
        """Return the text of the first prompt, and what the others add to it; None without others.

        The LoRAs of the last prompt, which change text encoders, are then active.
        """
        count, texts = self.chunk_count, []
        for prompts, request, loras in zip(self.prompts, self.requests, self.loras, strict=True):
            model.loras.activate(loras)
            encoded = model.encode_request(prompts.padded_to(count), request)
            texts.append(model.with_image_prompts(encoded, image_prompts))
        if len(texts) == 1:
            return texts[0], None
        weights = torch.from_numpy(self.weights)[:, None].to(model.hardware.device)
        unprompted = tuple(map(self.loras.index, self.loras))
        shown = (
            text if number == first else text.prompt_only
            for number, (text, first) in enumerate(zip(texts, unprompted, strict=True))
        )
        _, *others = shown
        return texts[0], RegionalTexts(tuple(others), self.loras[1:], unprompted, weights)


def tokenize(
    model: LatentModel,
    request: InpaintRequest,
    vectors: Sequence[EmbeddingVectors] = (),
    adapters: ActiveAdapters = NO_ADAPTERS,
) -> RequestPrompts:
    """Tokenize the prompts of a request that have an effect.

    vectors: as `LatentModel.tokenize` takes them. adapters: see `active_adapters`.
    """
    loras = [lora.spec for lora in adapters.all_loras]
    weights, settings = weights_of(request), request.settings
    effective = [number for number, share in enumerate(weights) if share.any()]
    each = [settings, *(settings_in(region, settings) for region in settings.regions)]
    requests = tuple(replace(request, settings=each[number]) if number else request for number in effective)
    prompts = tuple(model.tokenize(one.settings, vectors) for one in requests)
    active = tuple(active_loras(one.settings.loras, loras) for one in requests)
    return RequestPrompts(requests, prompts, active, weights[effective])


def settings_in(region: Region, settings: PaintSettings) -> PaintSettings:
    """Return the settings of a request with the prompt and the LoRAs of one of its regions."""
    return replace(settings, prompt=region.prompt, loras=region.active_loras(settings.loras))


def active_adapters(
    request: InpaintRequest, loras: Sequence[LoraSpec], networks: Sequence[ModelSpec]
) -> ActiveAdapters:
    """Return the adapters of a request. loras: of the request and of its regions."""
    settings = request.settings
    common = active_loras(settings.loras, loras)
    masks = zip(REGIONS.images, settings.regions, strict=False)
    shown = [region for name, region in masks if region.weight and name in request.conditioning_images]
    regional = {active_loras(region.active_loras(settings.loras), loras) for region in shown}
    return ActiveAdapters(common, tuple(networks), frozenset(regional - {common}))


def weights_of(request: InpaintRequest) -> NDArray[np.float32]:
    """Return the weights of the prompt and of each region, [1 + regions, h, w] in latent pixels, which add up to 1.

    The mask of a region is averaged over each latent pixel. A region without a mask has no effect.
    """
    size, regions = request.image.size, request.settings.regions
    weights = np.zeros((1 + len(regions), size.height // VAE_SCALE_FACTOR, size.width // VAE_SCALE_FACTOR), np.float32)
    cells = (weights.shape[1], VAE_SCALE_FACTOR, weights.shape[2], VAE_SCALE_FACTOR)
    for number, (name, region) in enumerate(zip(REGIONS.images, regions, strict=False), 1):
        if (mask := request.conditioning_images.get(name)) is not None:
            share = mask.pixels[:, :, 0].astype(np.float32) / np.float32(255)
            weights[number] = region.weight * share.reshape(cells).mean((1, 3))
    weights[0] = np.maximum(0, 1 - weights[1:].sum(0))
    return weights / weights.sum(0)


def predict(model: LatentModel, states: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
    """Return the network's prediction for each image's step, [rows, c, h, w], as `LatentModel.predict` does, with the
    prompts of its regions.

    The prompts with the same LoRAs share a call of the network where it can split its rows when memory is short, and
    else have one each.
    """
    views = [view for state in states for view in state.views]
    is_together = len(views) == len(states) or (model.splits_rows and model.rows_per_call is None)
    predictions: dict[DenoisingState, torch.Tensor] = {}
    for loras in dict.fromkeys(view.loras for view in views):
        model.loras.activate(loras)
        alike = [view for view in views if view.loras == loras]
        for part in [alike] if is_together else [[view] for view in alike]:
            predictions.update(zip(part, model.predict(part, backend), strict=True))
    return [state.merged([predictions[view] for view in state.views]) for state in states]
