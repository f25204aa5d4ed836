"""What is part of a text that is encoded once. The contract of families compares its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.adapter_uses import LoraUse
from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.encoding_cache import MAX_TEXTS, EncodingCache
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, ignore_step, request
from tests.support import tiny_loras, tiny_models

SIZE = Size(64, 64)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "sd")


def count_calls(module: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_pre_hook(lambda *given: calls.append(1))
    return calls


def test_weights_and_skipped_layers_are_part_of_a_text(spec: ModelSpec) -> None:
    model = load(spec, CPU)
    calls = count_calls(model.pipeline.text_encoder)
    for prompt, clip_skip in (("a red bus", None), ("a (red:1.3) bus", None), ("a red bus", 2)):
        settings = PaintSettings(prompt=prompt, clip_skip=clip_skip, guidance_scale=1.0)
        tiny_models.encoded(model, settings, SIZE)
    assert len(calls) == 3


def test_eight_requests_with_the_same_words_encode_them_once_for_each_set_of_loras(
    spec: ModelSpec, tmp_path: Path
) -> None:
    file = tiny_loras.saved(tmp_path / "ink.safetensors", tiny_loras.weights(tiny_models.sd(tmp_path / "words")))
    lora = LoraSpec("ink", "ink", "sd", path=file)
    batcher = Batcher(ModelCache(CPU, 10**9))
    calls = count_calls(batcher.cache.get(spec).pipeline.text_encoder)

    def paint(**more: Any) -> np.ndarray[Any, Any]:
        loras = [lora] if "loras" in more else []
        return batcher.paint(request(steps=1, **more), spec, ignore_step, loras=loras)[0][0]

    plain = [paint() for _ in range(4)]
    assert len(calls) == 2  # the prompt and the negative prompt
    inked = [paint(loras=(LoraUse("ink"),)) for _ in range(4)]
    assert len(calls) == 4
    assert all(np.array_equal(painting, plain[0]) for painting in (*plain, paint()))
    assert not np.array_equal(inked[0], plain[0])


def test_the_oldest_texts_are_forgotten() -> None:
    cache, encoded = EncodingCache(MAX_TEXTS), []
    for key in (*range(MAX_TEXTS), 0, MAX_TEXTS, 0, 1):
        cache.get(key, lambda key=key: encoded.append(key))  # type: ignore[misc]  # the key of this turn
    assert encoded == [*range(MAX_TEXTS), MAX_TEXTS, 1]
