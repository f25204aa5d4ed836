"""FLUX.1 [dev] and [schnell]: the contract of flow-matching families, what they read, and the LoRAs of FLUX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from inpainting import families
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import LoraUse, PaintSettings
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.contracts.family import assert_equal
from tests.engines.diffusion.flux_reference import FluxDevContract
from tests.engines.diffusion.pipelines import CPU, denoised, ignore_step
from tests.support import tiny_loras, tiny_models

SCHNELL_SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0, "use_dynamic_shifting": False}


class TestFluxDev(FluxDevContract):
    def test_the_prompt_and_the_guidance_scale_change_what_is_painted(self, model: Any) -> None:
        usual = denoised(model, self.request())
        assert_equal(denoised(model, self.request(guidance_scale=3.5)), usual)
        for changes in ({"prompt": "a lawn"}, {"guidance_scale": 9.0}):
            requested = self.request(**changes)
            latents = denoised(model, requested)
            assert_equal(latents, self.reference_result(model, requested))
            assert not torch.allclose(latents, usual, atol=1e-3), changes

    def test_one_without_guidance_embedding_reads_half_as_many_tokens_and_no_scale(
        self, tmp_path: Path, spec: ModelSpec
    ) -> None:
        tiny_models.flux_dev(tmp_path, guidance=False).save_pretrained(tmp_path / "schnell", safe_serialization=True)
        schnell: Any = load(replace(spec, path=tmp_path / "schnell"), CPU)
        schnell.scheduler_config = SCHNELL_SCHEDULER
        requested = self.request(guidance_scale=3.0)
        latents = denoised(schnell, requested)
        assert_equal(latents, self.reference_result(schnell, requested))
        assert torch.equal(latents, denoised(schnell, self.request(guidance_scale=30.0)))
        assert not torch.allclose(
            latents, self.reference_result(schnell, requested, max_sequence_length=512), atol=1e-3
        )
        notes = schnell.tokenize(PaintSettings(prompt="a " * 126 + "b unread")).notes
        assert [note.endswith("(255 tokens); not read: “unread”.") for note in notes] == [True]

    def test_a_request_uses_a_lora_of_flux(self, spec: ModelSpec, model: Any, tmp_path: Path) -> None:
        assert families.lora_family("flux-dev") == "flux-fill"
        assert "flux-dev" not in families.families_with_loras()
        tensors = tiny_loras.weights(model.pipeline, parts=["transformer"], rank=4)
        path = tiny_loras.saved(tmp_path / "words.safetensors", tensors)
        lora = LoraSpec(slug="words", label="Words", family="flux-fill", digest="words", path=path)
        batcher = Batcher(ModelCache(CPU, 10**9))
        (image,), _ = batcher.paint(self.request(loras=(LoraUse("words", 0.7),)), spec, ignore_step, [lora])
        pipeline = self.pipeline(**load(spec, CPU).pipeline.components)
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="one", local_files_only=True)
        pipeline.set_adapters(["one"], [0.7])
        reference = load(spec, CPU)
        reference.pipeline.register_modules(**pipeline.components)
        expected = np.asarray(self.reference_result(reference, self.request(), output_type="pil")[0])
        assert np.abs(image.astype(int) - expected).max() <= 1
        assert np.abs(image.astype(int) - self.paint(model, self.request())[0]).max() > 1

    def test_a_transformer_of_fill_is_refused(self, tmp_path: Path, spec: ModelSpec) -> None:
        pipeline = tiny_models.flux_fill(tmp_path, kind=diffusers.FluxInpaintPipeline)
        pipeline.save_pretrained(tmp_path / "fill", safe_serialization=True)
        with pytest.raises(EngineFailed, match="by a prompt alone: its transformer takes 384 channels, not 64"):
            load(replace(spec, path=tmp_path / "fill"), CPU)
