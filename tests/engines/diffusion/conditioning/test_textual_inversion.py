"""Textual inversion equals diffusers' and changes only the requests that name the embedding."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.textual_inversion import read_embedding
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import alias_text_model, load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.sd.network import StableDiffusion
from inpainting.networks.device.hardware import Hardware
from tests.engines.diffusion.pipelines import (
    CPU,
    FAMILIES,
    ddim_request,
    denoised,
    ignore_step,
    loaded_reference,
    run_reference,
)
from tests.support import tiny_embeddings, tiny_models, tiny_vaes
from tests.support.matrix import each_value_once, first_alone


@pytest.fixture(autouse=True)
def _small_text_features(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_embeddings.allow(monkeypatch)


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], ModelSpec]:
    """For each family an embedding of one vector in diffusers' format, and one of three vectors."""
    folder = tmp_path_factory.mktemp("embeddings")
    return {
        (family, slug): tiny_embeddings.saved(
            folder / str(family) / f"{slug}.safetensors", family, seed=number, vectors=vectors, name=name
        )
        for family in FAMILIES
        for number, (slug, vectors, name) in enumerate([("ink", 1, "<ink>"), ("my-cat.2", 3, "emb_params")])
    }


def denoised_latents(model: StableDiffusion, requested: InpaintRequest, used: list[ModelSpec]) -> torch.Tensor:
    """The final latents of our loop."""
    return denoised(model, requested, model.embedding_vectors([read_embedding(lora) for lora in used]))


def diffusers_result(spec: ModelSpec, requested: InpaintRequest, used: list[ModelSpec]) -> Any:
    """The result of diffusers' pipeline with the embeddings loaded by its own loader."""
    reference = loaded_reference(spec, requested)
    alias_text_model(reference.text_encoder)
    for lora in used:
        assert lora.path is not None
        tensors = load_file(lora.path)
        for end, name in (("", "clip_l"), ("_2", "clip_g")) if len(tensors) == 2 else (("", next(iter(tensors))),):
            reference.load_textual_inversion(
                tensors[name],
                token=f"<{lora.slug}>",
                tokenizer=getattr(reference, f"tokenizer{end}"),
                text_encoder=getattr(reference, f"text_encoder{end}"),
            )
    return run_reference(reference, spec, requested)


@pytest.mark.parametrize(
    ("family", "words"),
    each_value_once(
        FAMILIES,
        [
            {"prompt": "a bus, <ink>, at night"},
            {"prompt": "<my-cat.2> on a bus"},
            {"prompt": "a <my-cat.2> and <ink>", "clip_skip": 2},
            {"prompt": "a bus", "negative_prompt": "<ink>"},
        ],
    ),
)
def test_embeddings_equal_the_reference_pipeline(
    specs: dict[str, ModelSpec],
    embeddings: dict[tuple[str, str], ModelSpec],
    family: str,
    words: dict[str, Any],
) -> None:
    used = [embedding for (of, slug), embedding in embeddings.items() if of == family and f"<{slug}>" in str(words)]
    requested = ddim_request(embeddings=tuple(lora.slug for lora in used), **words)
    latents = denoised_latents(load(specs[family], CPU), requested, used)
    torch.testing.assert_close(latents, diffusers_result(specs[family], requested, used), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, diffusers_result(specs[family], requested, []), atol=1e-2)


@pytest.mark.parametrize("family", first_alone("sdxl", "sd"))
def test_requests_without_the_embedding_read_its_placeholder_as_words(
    specs: dict[str, ModelSpec], embeddings: dict[tuple[str, str], ModelSpec], family: str
) -> None:
    ink = embeddings[family, "ink"]
    plain, with_it = ddim_request(prompt="a bus, <ink>"), ddim_request(prompt="a bus, <ink>", embeddings=("ink",))
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)

    def paint(request: InpaintRequest) -> NDArray[np.uint8]:
        return batcher.paint(request, specs[family], ignore_step, embeddings=[ink] if request is with_it else [])[0][0]

    before = paint(plain)
    with ThreadPoolExecutor(4) as pool:
        with_ink, beside = pool.map(paint, [with_it, plain])
    alone = Batcher(ModelCache(CPU, 10**9), max_rows=1).paint(plain, specs[family], ignore_step)[0][0]
    assert np.abs(before.astype(int) - alone).max() <= 1
    assert np.abs(beside.astype(int) - alone).max() <= 1
    assert not np.array_equal(with_ink, before)
    assert np.array_equal(paint(plain), before)
    assert (
        len(batcher.workload.known_keys) == 1
    )  # embeddings change only the text, so their jobs share step batches with others


def test_a_weight_applies_to_an_embedding_and_its_vectors_stay_in_one_chunk(
    specs: dict[str, ModelSpec], embeddings: dict[tuple[str, str], ModelSpec]
) -> None:
    model, cat = load(specs["sd"], CPU), embeddings["sd", "my-cat.2"]

    def embeds(prompt: str) -> torch.Tensor:
        settings = ddim_request(prompt=prompt, embeddings=(cat.slug,), guidance_scale=1.0).settings
        vectors = model.embedding_vectors([read_embedding(cat)])
        return tiny_models.encoded(model, settings, ddim_request().image.size, vectors).embeds

    assert not torch.allclose(embeds("a (<my-cat.2>:1.5)"), embeds("a <my-cat.2>"), atol=1e-2)
    assert torch.equal(embeds("a <MY-CAT.2>"), embeds("a <my-cat.2>"))
    long = embeds("bus " * 24 + "a <my-cat.2>")  # 73 tokens and three vectors: these do not fit into the first chunk
    settings = ddim_request(prompt="bus " * 24 + "a <my-cat.2>", embeddings=(cat.slug,)).settings
    (chunks,) = model.tokenize(settings, model.embedding_vectors([read_embedding(cat)])).positive
    assert [len(chunk) for chunk in chunks.tokens] == [73, 3]
    assert long.shape[1] == 2 * 77


def test_an_embedding_that_no_prompt_names_gives_a_note(
    specs: dict[str, ModelSpec], embeddings: dict[tuple[str, str], ModelSpec]
) -> None:
    batcher, ink = Batcher(ModelCache(CPU, 10**9)), embeddings["sd", "ink"]
    without_guidance = {"negative_prompt": "<ink>", "guidance_scale": 1.0}
    for words in ({"negative_prompt": ""}, without_guidance):
        requested = ddim_request(prompt="ink", embeddings=("ink",), steps=1, **words)
        _, notes = batcher.paint(requested, specs["sd"], ignore_step, embeddings=[ink])
        assert notes == ("The embedding ink is not used: “<ink>” is in no prompt that the model reads.",)


def test_a_missing_embedding_or_one_of_another_width_fails_only_its_job(
    specs: dict[str, ModelSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    good = batcher.paint(ddim_request(), specs["sd"], ignore_step)[0][0]
    wide = tiny_embeddings.saved(tmp_path / "wide.safetensors", width=768)
    gone = tiny_embeddings.saved(tmp_path / "gone.safetensors")
    (tmp_path / "gone.safetensors").unlink()
    for embedding, code in ((wide, "adapter_refused"), (gone, "adapter_unavailable")):
        with pytest.raises(EngineFailed) as failed:
            batcher.paint(ddim_request(embeddings=(embedding.slug,)), specs["sd"], ignore_step, embeddings=[embedding])
        assert failed.value.code == code
    monkeypatch.undo()
    with pytest.raises(EngineFailed, match="has vectors of 768 features; Tiny sd reads 32") as failed:
        batcher.paint(ddim_request(embeddings=("wide",)), specs["sd"], ignore_step, embeddings=[wide])
    assert failed.value.code == "adapter_unfit"
    assert np.array_equal(batcher.paint(ddim_request(), specs["sd"], ignore_step)[0][0], good)


def test_16_bit_results_with_all_options_are_close_to_float32(
    specs: dict[str, ModelSpec], embeddings: dict[tuple[str, str], ModelSpec], tmp_path: Path
) -> None:
    vae = tiny_vaes.saved(tmp_path / "soft")
    for family in FAMILIES:
        cat = embeddings[family, "my-cat.2"]
        words = "(a red bus:1.3) under a blue sky, " * 4 + "(<my-cat.2>:0.8)"
        requested = ddim_request(prompt=words, embeddings=(cat.slug,), vae="soft", guidance_start=0.2, guidance_end=0.8)
        half, whole = (
            Batcher(ModelCache(Hardware(torch.device("cpu"), dtype), 10**9)).paint(
                requested, specs[family], ignore_step, (), [vae], [cat]
            )[0][0]
            for dtype in (torch.bfloat16, torch.float32)
        )
        assert half.std() > 0
        assert np.abs(half.astype(int) - whole).mean() <= 3
