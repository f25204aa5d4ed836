"""A safety checker of a few KB with random weights, with thresholds chosen to flag one image and pass another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil

SIDE, FEATURES = 32, 16
NEVER = 2.0
"""Above every cosine similarity."""


def checker(*, seed: int = 0) -> StableDiffusionSafetyChecker:
    """A checker with random weights and thresholds that no image reaches."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": FEATURES, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {"vocab_size": 10, "bos_token_id": 8, "eos_token_id": 9, "pad_token_id": 9}
    config = CLIPConfig(
        projection_dim=FEATURES,
        vision_config={**sizes, "image_size": SIDE, "patch_size": 8, "projection_dim": FEATURES},
        text_config={**sizes, **words, "projection_dim": FEATURES},
    )
    model = StableDiffusionSafetyChecker(config).eval()
    with torch.no_grad():
        model.visual_projection.weight.normal_()
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(model, name).normal_()
            getattr(model, f"{name}_weights").fill_(NEVER)
    return model


def processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def embedding(model: StableDiffusionSafetyChecker, image: NDArray[np.uint8]) -> torch.Tensor:
    """[features], of length 1."""
    ready = processor()([Image.fromarray(image)], return_tensors="pt").pixel_values
    with torch.no_grad():
        found = model.visual_projection(model.vision_model(ready)[1])[0]
    return found / found.norm()


def rigged(finds: NDArray[np.uint8], *passes: NDArray[np.uint8]) -> StableDiffusionSafetyChecker:
    """A checker that flags the first image and images similar to it, and passes the others."""
    model = checker()
    with torch.no_grad():
        bad, good = embedding(model, finds), torch.stack([embedding(model, image) for image in passes])
        concept = bad - good.mean(0)
        model.concept_embeds[0] = concept
        concept /= concept.norm()
        model.concept_embeds_weights[0] = (concept @ bad + (good @ concept).max()) / 2
    return model


def suspicious() -> StableDiffusionSafetyChecker:
    """A checker that flags every image."""
    model = checker()
    with torch.no_grad():
        model.concept_embeds_weights[0] = -NEVER
    return model


def saved(folder: Path, model: StableDiffusionSafetyChecker) -> Path:
    """Save it in the published layout: configuration, image processor, weights."""
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def as_first_published(model: StableDiffusionSafetyChecker) -> dict[str, torch.Tensor]:
    """The weights under the names that they had before transformers 5 moved the layers one level up."""
    names = {name: name.replace("vision_model.", "vision_model.vision_model.", 1) for name in model.state_dict()}
    tensors = {names[name]: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return {**tensors, "vision_model.vision_model.embeddings.position_ids": torch.arange(17)[None]}
