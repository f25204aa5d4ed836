"""FLUX.1 Fill: the contract of flow-matching families, its noise levels, guidance, masks, files and previews."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from skimage import data

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box, Size, plan_window
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS, SCHEDULERS
from inpainting.engines.base import Step
from inpainting.engines.diffusion import previews
from inpainting.engines.diffusion.declaration import window_rule
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.engines.diffusion.sampling import flow_schedulers
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.painting import paint
from inpainting.networks.device.hardware import Hardware
from tests.engines.diffusion.flux_reference import SIZE, FluxFillContract, assert_equal
from tests.engines.diffusion.pipelines import (
    CPU,
    denoised,
    ignore_step,
)
from tests.support import tiny_models
from tests.support.fakes import planned

EULER, HEUN = FLOW_SCHEDULERS


class TestFluxFill(FluxFillContract):
    def test_the_noise_levels_depend_on_the_image_size(self, model: Any) -> None:
        few, many = (
            flow_schedulers.begin(
                flow_schedulers.make(EULER, model.scheduler_config)[0],
                model.scheduler_config,
                steps=4,
                strength=1.0,
                patches=patches,
            )
            for patches in (256, 4096)
        )
        for times, shift in ((few, 0.5), (many, 1.15)):
            expected = [1000 * np.exp(shift) / (np.exp(shift) + 1 / level - 1) for level in (1, 0.75, 0.5, 0.25)]
            np.testing.assert_allclose(times.numpy(), expected, rtol=1e-5)

    def test_guidance_and_prompt_change_the_image(self, model: Any) -> None:
        usual = denoised(model, self.request())
        assert_equal(denoised(model, self.request(guidance_scale=30.0)), usual)
        for changes in ({"guidance_scale": 3.0}, {"prompt": "a lawn"}):
            requested = self.request(**changes)
            latents = denoised(model, requested)
            assert_equal(latents, self.reference_result(model, requested))
            assert not torch.allclose(latents, usual, atol=1e-3), changes

    def test_a_transformer_without_guidance_embedding_takes_none(self, tmp_path: Path, spec: ModelSpec) -> None:
        tiny_models.flux_fill(tmp_path, guidance=False).save_pretrained(tmp_path / "plain", safe_serialization=True)
        plain = load(replace(spec, path=tmp_path / "plain"), CPU)
        latents = denoised(plain, self.request(guidance_scale=30.0))
        assert_equal(latents, self.reference_result(plain, self.request(guidance_scale=30.0)))
        assert torch.equal(latents, denoised(plain, self.request(guidance_scale=3.0)))

    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_a_scheduler_of_another_kind_is_replaced_with_a_note(self, model: Any, name: str) -> None:
        requested = self.request(scheduler=name)
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        _, notes = model.start(requested, 0, text)
        nearest = HEUN if "Heun" in name or "Karras" in name else EULER
        assert notes == (f"{name} does not support flow matching; {nearest} was used instead.",)

    def test_the_truncated_end_of_a_prompt_gives_a_note(self, model: Any) -> None:
        notes = model.tokenize(PaintSettings(prompt="a " * 254 + "b")).notes
        assert notes == ()
        notes = model.tokenize(PaintSettings(prompt="a " * 254 + "b unread")).notes
        assert [note.endswith("(511 tokens); not read: “unread”.") for note in notes] == [True]

    def test_along_a_ramp_lower_mask_values_stay_closer_to_the_image(self, model: Any) -> None:
        # Twelve bands of one latent column each, from kept to wholly repainted.
        shares = np.linspace(0, 1, 12)
        mask = np.repeat((shares * 255).round().astype(np.uint8), 8)[None].repeat(SIZE.height, axis=0)
        plain = self.request(steps=10)
        requested = InpaintRequest(plain.image, mask, plain.settings)
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        denoising, _ = model.start(requested, 0, text)
        clean = denoising.image
        assert clean is not None
        kept_at = [0] * 12
        while not denoising.is_done:
            (answer,) = model.predict([denoising])
            denoising.advance(answer)
            expected = clean
            if not denoising.is_done:
                level = float(denoising.timesteps[denoising.index]) / 1000
                expected = (1 - level) * clean + level * denoising.noise
            same = torch.isclose(denoising.latents, expected, atol=1e-6).flatten(0, 2).all(dim=0)
            for column in range(12):
                kept_at[column] += bool(same[column])
        # The model itself repaints fully kept bands, as it was trained to.
        wanted = [0, *(10 - round(share * 10) for share in shares[1:])]
        assert all(abs(seen - want) <= 1 for seen, want in zip(kept_at, wanted, strict=True)), (kept_at, wanted)
        assert kept_at[1] > kept_at[6] > kept_at[-1] == 0

    def test_pixels_outside_the_mask_stay_bit_identical(self, spec: ModelSpec) -> None:
        photo = np.ascontiguousarray(data.chelsea()[40:257, 60:371])
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[60:140, 90:170] = 255
        engine = Diffusion()
        engine.__dict__["_batcher"] = Batcher(ModelCache(CPU, 10**9))
        settings = PaintSettings(prompt="a red bus", steps=2, strength=1.0)
        (painted,) = paint(
            planned(InpaintRequest(CanonicalImage(photo), mask, settings), engine, spec), engine, ignore_step
        )
        result = np.asarray(painted.image.pixels)
        assert np.array_equal(result[mask == 0], photo[mask == 0])
        assert not np.array_equal(result[mask > 0], photo[mask > 0])

    def test_sharded_weights_are_loaded(self, tmp_path: Path, spec: ModelSpec, model: Any) -> None:
        tiny_models.flux_fill(tmp_path).save_pretrained(
            tmp_path / "cut", safe_serialization=True, max_shard_size="100KB"
        )
        assert len(list((tmp_path / "cut" / "transformer").glob("*-of-*.safetensors"))) > 1
        assert_equal(
            denoised(load(replace(spec, path=tmp_path / "cut"), CPU), self.request()), denoised(model, self.request())
        )

    def test_a_transformer_without_inpainting_channels_is_refused(self, tmp_path: Path, spec: ModelSpec) -> None:
        pipeline = tiny_models.flux_fill(tmp_path)
        config = {**pipeline.transformer.config, "in_channels": 64}
        pipeline.transformer = diffusers.FluxTransformer2DModel.from_config(config)
        pipeline.save_pretrained(tmp_path / "dev", safe_serialization=True)
        with pytest.raises(EngineFailed) as failed:
            load(replace(spec, path=tmp_path / "dev"), CPU)
        assert failed.value.code == "model_refused"
        assert "64 channels, not 384" in failed.value.message

    def test_when_memory_is_short_images_are_decoded_in_tiles_with_a_note(self, spec: ModelSpec) -> None:
        loaded = load(spec, CPU)
        assert loaded.reduce_memory(Size(64, 64))
        assert loaded.vae.use_tiling
        assert loaded.memory_fallbacks
        assert not loaded.reduce_memory(Size(64, 64))

    @pytest.mark.parametrize("has_decoder", [True, False])
    def test_previews_come_from_a_small_decoder_or_a_matrix(
        self, tmp_path: Path, spec: ModelSpec, model: Any, has_decoder: bool
    ) -> None:
        if has_decoder:
            few: dict[str, Any] = {f"{half}_block_out_channels": (8,) * 4 for half in ("encoder", "decoder")}
            few |= {f"num_{half}_blocks": (1,) * 4 for half in ("encoder", "decoder")}
            diffusers.AutoencoderTiny(latent_channels=16, **few).save_pretrained(tmp_path / "taef1")
        cache = ModelCache(CPU, 10**9, models_dir=tmp_path)
        seen: list[Step] = []
        requested = self.request()
        Batcher(cache).paint(requested, spec, seen.append)
        first = next(step.preview for step in seen if step.preview is not None)
        assert first.shape == ((64, 96, 3) if has_decoder else (8, 12, 3))
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        denoising, _ = model.start(requested, 0, text)
        show = previews.make_previewer(
            np.asarray(requested.image.pixels), denoising, cache.preview_decoder("flux-fill")
        )
        assert show is not None
        (answer,) = model.predict([denoising])
        denoising.advance(answer)
        assert denoising.pred_original_sample is not None
        assert not torch.equal(denoising.pred_original_sample, denoising.latents)
        assert np.array_equal(previews.previews_of([(show, denoising)])[0](), first)

    def test_the_predicted_original_equals_the_latents_after_one_step(self, model: Any) -> None:
        requested = self.request(steps=1)
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        denoising, _ = model.start(requested, 0, text)
        (answer,) = model.predict([denoising])
        denoising.advance(answer)
        assert denoising.is_done
        assert denoising.pred_original_sample is not None
        assert_equal(denoising.pred_original_sample, denoising.latents)

    def test_its_metadata_contain_the_precision(self, spec: ModelSpec) -> None:
        ways: set[str] = set()
        half = Batcher(ModelCache(Hardware(torch.device("cpu"), torch.float16), 10**9))
        half.paint(self.request(steps=1), spec, lambda step: ways.add(step.computed_by))
        assert ways - {""} == {"torch, bfloat16"}  # "" while the model is being loaded


@pytest.mark.parametrize("native", [64, 72, 512, 1000, 1024])
@pytest.mark.parametrize("family", families.names(engine=DIFFUSION))
def test_the_working_size_is_a_multiple_of_what_diffusers_pipeline_takes(family: str, native: int) -> None:
    multiple = 8 if family in ("sd", "sdxl") else 16  # a latent, or a token of two by two latents
    model = ModelSpec("mine", "Mine", family, **{**families.get(family).defaults, "width": native, "height": native})
    for requested in (PaintSettings(), PaintSettings(width=1000, height=72), PaintSettings(height=88)):
        rule = window_rule(requested, model)
        for mask in (Box(10, 20, 30, 40), Box(0, 0, 1900, 700), Box(500, 3, 1400, 1050)):
            work = plan_window(mask, Size(1999, 1111), rule).work
            assert (work.width % multiple, work.height % multiple) == (0, 0), (requested, work)
