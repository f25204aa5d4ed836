"""Weighted and long prompts equal compel's embeddings; plain prompts are bit-identical to diffusers'."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compel.embeddings_provider import EmbeddingsProviderMulti, ReturnedEmbeddingsType, SplitLongTextMode
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.conditioning.prompt_encoding import MAX_CHUNKS
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.sd.network import StableDiffusion
from tests.engines.diffusion.pipelines import CPU, FAMILIES, SIDE, ddim_request, ignore_step
from tests.support import tiny_models
from tests.support.matrix import each_value_once, first_alone

LAYERS = {
    "sd": ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED,
    "sdxl": ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
}
LONG = " ".join(["a red bus under a blue sky"] * 9)
"""Of 20 tokens each, letter by letter."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StableDiffusion]:
    folder = tmp_path_factory.mktemp("models")
    return {family: load(tiny_models.saved(folder / str(family), family), CPU) for family in FAMILIES}


def prompt_embeds(model: StableDiffusion, prompt: str, **settings: Any) -> torch.Tensor:
    """[tokens, features], the embeddings of the prompt alone."""
    text = tiny_models.encoded(model, PaintSettings(prompt=prompt, guidance_scale=1.0, **settings), Size(SIDE, SIDE))
    return text.embeds[0]


def compel_embeds(model: StableDiffusion, fragments: list[tuple[str, float]]) -> torch.Tensor:
    """[tokens, features] by compel with the same encoders, before it blends in prompts without the words below 1."""
    family = model.spec.family
    provider = EmbeddingsProviderMulti(
        [tokenizer for tokenizer, _ in model.encoders],
        [encoder for _, encoder in model.encoders],
        truncate=False,
        returned_embeddings_type=LAYERS[family],
        split_long_text_mode=SplitLongTextMode.WORDS,
    )
    parts = []
    with torch.inference_mode():
        for provider_ in provider.embedding_providers:
            ids, weights, mask = provider_.get_token_ids_and_expand_weights(
                *map(list, zip(*fragments, strict=True)), "cpu"
            )
            parts.append(provider_.build_weighted_embedding_tensor(ids, weights, mask))
    return torch.cat(parts, dim=-1)[0]


@pytest.mark.parametrize(("family", "weight"), each_value_once(FAMILIES, [0.0, 0.7, 1.3, 2.0]))
def test_prompt_weights_equal_those_of_compel(models: dict[str, StableDiffusion], family: str, weight: float) -> None:
    model = models[family]
    embeds = prompt_embeds(model, f"a (red:{weight}) bus")
    expected = compel_embeds(model, [("a ", 1.0), ("red", weight), (" bus", 1.0)])
    torch.testing.assert_close(embeds, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(embeds, prompt_embeds(model, "a red bus"), atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_prompt_is_encoded_in_chunks_as_by_compel(models: dict[str, StableDiffusion], family: str) -> None:
    model = models[family]
    embeds = prompt_embeds(model, f"{LONG}, (a green door:1.4)")
    assert len(embeds) == 3 * 77
    expected = compel_embeds(model, [(f"{LONG}, ", 1.0), ("a green door", 1.4)])
    torch.testing.assert_close(embeds, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("clip_skip", [None, 2])
def test_a_plain_prompt_is_bit_identical_to_diffusers(
    models: dict[str, StableDiffusion], family: str, clip_skip: int | None
) -> None:
    model = models[family]
    settings = PaintSettings(prompt="a (red) bus", negative_prompt="blur: 1.3", clip_skip=clip_skip)
    text, notes = tiny_models.encoded(model, settings, Size(SIDE, SIDE)), model.tokenize(settings).notes
    with torch.inference_mode():
        positive, negative, *pooled = model.pipeline.encode_prompt(
            prompt=settings.prompt,
            device=CPU.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=settings.negative_prompt,
            clip_skip=None if clip_skip is None else clip_skip - 1,
        )
    assert torch.equal(text.embeds, torch.cat([negative, positive]))
    if pooled:
        assert text.pooled is not None
        assert torch.equal(text.pooled, torch.cat(pooled[::-1]))
    assert notes == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_work_with_clip_skip_and_negative_prompts(models: dict[str, StableDiffusion], family: str) -> None:
    model = models[family]
    assert not torch.allclose(
        prompt_embeds(model, "a (red:1.4) bus", clip_skip=2), prompt_embeds(model, "a (red:1.4) bus"), atol=1e-2
    )
    plain, weighted = (
        tiny_models.encoded(model, PaintSettings(prompt="a bus", negative_prompt=words), Size(SIDE, SIDE)).embeds
        for words in ("a blur", "a (blur:1.5)")
    )
    assert torch.equal(plain[1], weighted[1])
    assert not torch.allclose(plain[0], weighted[0], atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shorter_of_prompt_and_negative_prompt_is_padded_with_empty_chunks(
    models: dict[str, StableDiffusion], family: str
) -> None:
    model = models[family]
    text = tiny_models.encoded(model, PaintSettings(prompt=LONG, negative_prompt="blur"), Size(SIDE, SIDE))
    assert text.embeds.shape[1] == 3 * 77
    negative, empty = prompt_embeds(model, "blur"), prompt_embeds(model, "")
    torch.testing.assert_close(text.embeds[0], torch.cat([negative, empty, empty]), rtol=1e-4, atol=1e-4)


def test_words_after_the_last_chunk_give_a_note(models: dict[str, StableDiffusion]) -> None:
    words = "bus " * 25 * MAX_CHUNKS
    notes = models["sd"].tokenize(PaintSettings(prompt=f"{words}(zebra:1.2)")).notes
    assert notes == ("The prompt is longer than the model reads (600 tokens); not read: “zebra”.",)
    assert models["sd"].tokenize(PaintSettings(prompt=words)).notes == ()


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
def test_prompts_of_all_lengths_run_at_once_with_the_results_they_have_alone(
    models: dict[str, StableDiffusion], family: str
) -> None:
    spec: ModelSpec = models[family].spec
    requested = [
        ddim_request(prompt="a red bus"),
        ddim_request(prompt="a (red:1.5) bus", seed=8),
        ddim_request(prompt=LONG),
        ddim_request(prompt="a bus", negative_prompt=LONG),
        ddim_request(prompt=f"({LONG}:0.8)", guidance_scale=1.0),
    ]

    def paint(batcher: Batcher, request: InpaintRequest) -> NDArray[np.uint8]:
        return batcher.paint(request, spec, ignore_step)[0][0]

    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    with ThreadPoolExecutor(len(requested)) as pool:
        results = [future.result(60) for future in [pool.submit(paint, batcher, request) for request in requested]]
    for request, result in zip(requested, results, strict=True):
        alone = paint(Batcher(ModelCache(CPU, 10**9), max_rows=1), request)
        assert np.abs(result.astype(int) - alone).max() <= 1
    assert len({result.tobytes() for result in results}) == len(requested)
    assert sorted(key.chunk_count for key in batcher.workload.known_keys) == [1, 3]


def test_jobs_are_grouped_by_the_number_of_prompt_chunks(tmp_path: Path) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    spec = tiny_models.saved(tmp_path / "sd")
    for prompt, count in (("a bus", 1), (LONG, 3), ("a bus", 1)):
        batcher.paint(ddim_request(prompt=prompt), spec, ignore_step)
        assert batcher.cache.get(spec).tokenize(ddim_request(prompt=prompt).settings).chunk_count == count
    assert sorted(key.chunk_count for key in batcher.workload.known_keys) == [1, 3]
