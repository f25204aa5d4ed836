"""FLUX.1 Kontext: the contract of flow-matching families, what it reads, and the LoRAs of FLUX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux import pipeline_flux_kontext_inpaint
from PIL import Image
from skimage import data

from inpainting import families
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.adapter_uses import REFERENCES
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import LoraUse, PaintSettings
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.flux_kontext import network
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import FlowContract
from tests.engines.diffusion.pipelines import CPU, denoised, ignore_step
from tests.engines.diffusion.plain_flow import HEIGHT, WIDTH
from tests.support import tiny_loras, tiny_models


class TestFluxKontext(FlowContract):
    family = "flux-kontext"
    pipeline = diffusers.FluxKontextInpaintPipeline

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        return {**super().arguments(model, settings), "_auto_resize": False, "max_area": WIDTH * HEIGHT}

    def test_the_source_image_prompt_and_guidance_change_what_is_painted(self, model: Any) -> None:
        usual = self.request()
        pixels = np.asarray(usual.image.pixels)
        inverted = np.where(usual.mask[..., None] > 0, 255 - pixels, pixels)
        changed = [
            # At a strength of 1 the noise hides nothing of it.
            replace(usual, image=replace(usual.image, pixels=inverted)),
            self.request(prompt="a lawn"),
            self.request(guidance_scale=9.0),
        ]
        expected = denoised(model, usual)
        for requested in changed:
            latents = denoised(model, requested)
            assert_equal(latents, self.reference_result(model, requested))
            assert not torch.allclose(latents, expected, atol=1e-3)

    def test_a_reference_image_takes_the_place_of_the_source_image(
        self, model: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = [(WIDTH, HEIGHT), (64, 80), (80, 64)]
        monkeypatch.setattr(pipeline_flux_kontext_inpaint, "PREFERRED_KONTEXT_RESOLUTIONS", sizes)
        monkeypatch.setattr(network, "SIZES", sizes)
        reference = Image.fromarray(np.ascontiguousarray(data.coffee()[:130, :100]))
        requested = self.request(strength=0.8)
        plain = denoised(model, requested)
        requested = replace(requested, conditioning_images={"reference_image": CanonicalImage(np.asarray(reference))})
        changes = {"image_reference": reference, "_auto_resize": True}
        result = denoised(model, requested)
        assert_equal(result, self.reference_result(model, requested, **changes))
        assert not torch.allclose(result, plain, atol=1e-3)
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        assert model.start(requested, 0, text)[1] == (network.REFERENCES_SEEN,)

    def test_further_reference_images_are_seen_beside_and_below_the_first(
        self, model: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = [(WIDTH, HEIGHT), (64, 80), (80, 64)]
        monkeypatch.setattr(pipeline_flux_kontext_inpaint, "PREFERRED_KONTEXT_RESOLUTIONS", sizes)
        monkeypatch.setattr(network, "SIZES", sizes)
        photo = data.coffee()
        looks = [np.ascontiguousarray(photo[: size[1], : size[0]]) for size in ((64, 80), (80, 64), (64, 80))]
        places = [(0, 0), (5, 0), (0, 5)]  # the row and column of the first token, of 16 pixels

        class WithAll(diffusers.FluxKontextInpaintPipeline):  # type: ignore[misc]  # diffusers ships no types
            def prepare_latents(self, *given: Any, **named: Any) -> Any:
                found, seen = [*super().prepare_latents(*given, **named)], []
                for look, (top, left) in zip(looks, places, strict=True):
                    pixels = self.image_processor.preprocess(Image.fromarray(look))
                    latents = self._encode_vae_image(image=pixels, generator=None)
                    ids = self._prepare_latent_image_ids(1, *(side // 2 for side in latents.shape[-2:]), "cpu", None)
                    seen.append((self._pack_latents(latents, *latents.shape), ids + torch.tensor([1, top, left])))
                found[2], found[5] = torch.cat([one for one, _ in seen], dim=1), torch.cat([ids for _, ids in seen])
                return tuple(found)

        monkeypatch.setattr(type(self), "pipeline", WithAll)
        images = {name: CanonicalImage(look) for name, look in zip(REFERENCES.images, looks, strict=False)}
        requested = replace(self.request(strength=0.8), conditioning_images=images)
        result = denoised(model, requested)
        changes = {"image_reference": Image.fromarray(looks[0]), "_auto_resize": True}
        assert_equal(result, self.reference_result(model, requested, **changes))
        fewer = replace(requested, conditioning_images={"reference_image": images["reference_image"]})
        assert not torch.allclose(result, denoised(model, fewer), atol=1e-3)

    def test_loras_for_flux_change_it_as_in_the_reference_pipeline(self, model: Any, tmp_path: Path) -> None:
        assert families.lora_family("flux-kontext") == "flux-fill"
        assert "flux-kontext" not in families.families_with_loras()
        layer = "transformer_blocks.0.attn.to_q"
        linear = model.transformer.get_submodule(layer)
        tensors = {
            f"transformer.{layer}.lora_A.weight": torch.randn(4, linear.in_features),
            f"transformer.{layer}.lora_B.weight": torch.randn(linear.out_features, 4),
        }
        path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
        lora = ActiveLora(LoraSpec(slug="ink", label="Ink", family="flux-fill", digest="ink", path=path), 0.7)
        plain = denoised(model, self.request())
        model.loras.load(lora)
        model.loras.activate((lora,))
        with_lora = denoised(model, self.request())
        model.loras.activate(())
        pipeline = diffusers.FluxKontextInpaintPipeline(**model.pipeline.components)
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="one", local_files_only=True)
        pipeline.set_adapters(["one"], [0.7])
        try:
            assert_equal(with_lora, self.reference_result(model, self.request()))
        finally:
            pipeline.unload_lora_weights()
        assert not torch.allclose(with_lora, plain, atol=1e-3)

    def test_a_request_uses_a_lora_of_flux(self, spec: ModelSpec, model: Any, tmp_path: Path) -> None:
        tensors = tiny_loras.weights(model.pipeline, parts=["text_encoder"], rank=4)
        path = tiny_loras.saved(tmp_path / "words.safetensors", tensors)
        lora = LoraSpec(slug="words", label="Words", family="flux-fill", digest="words", path=path)
        batcher = Batcher(ModelCache(CPU, 10**9))
        plain, changed = (
            batcher.paint(self.request(loras=uses), spec, ignore_step, loras)[0][0].astype(int)
            for uses, loras in (((), []), ((LoraUse("words"),), [lora]))
        )
        assert np.abs(plain - changed).max() > 1

    def test_a_transformer_of_fill_is_refused(self, tmp_path: Path, spec: ModelSpec) -> None:
        pipeline = tiny_models.flux_fill(tmp_path, kind=diffusers.FluxKontextInpaintPipeline)
        pipeline.save_pretrained(tmp_path / "fill", safe_serialization=True)
        with pytest.raises(EngineFailed, match="not trained for editing: its transformer takes 384 channels, not 64"):
            load(replace(spec, path=tmp_path / "fill"), CPU)
