"""Stable Diffusion 3.5: the contract of flow-matching families, and how three text encoders read a prompt."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.serving.model_loading import load
from inpainting.families.sd3.network import MAX_TOKENS
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import FlowContract, cases
from tests.engines.diffusion.pipelines import CPU, STEPS, denoised
from tests.engines.diffusion.plain_flow import EULER, HEUN
from tests.support import tiny_models

SHIFT = 3.0
GUIDED: dict[str, Any] = {"guidance_scale": 5.0, "negative_prompt": "blurred, and more words than in the prompt"}


class WithShiftedLatents(diffusers.StableDiffusion3InpaintPipeline):  # type: ignore[misc]  # diffusers ships no types
    """diffusers' pipeline, which decodes latents without the VAE's `shift_factor`, as `StableDiffusion3Pipeline` does.

    It takes a strength of 1 for noise alone.
    """

    def __call__(self, *given: Any, output_type: str = "pil", **named: Any) -> Any:
        answer = super().__call__(*given, output_type="latent", **named)
        if output_type == "pil":
            config = self.vae.config
            decoded = self.vae.decode(answer.images / config.scaling_factor + config.shift_factor).sample
            answer.images = self.image_processor.postprocess(decoded.detach(), output_type="pil")
        return answer


class TestStableDiffusion3(FlowContract):
    family = "sd3"
    pipeline = WithShiftedLatents
    cases = cases({"scheduler": HEUN}, GUIDED)

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        found = {**super().arguments(model, settings), "negative_prompt": settings.negative_prompt}
        if settings.clip_skip:
            found["clip_skip"] = settings.clip_skip - 1
        if settings.scheduler == HEUN:  # diffusers' takes no sigmas, and its stand-in does not shift them
            levels = np.linspace(1.0, shifted(0.001), settings.steps or STEPS)
            found["sigmas"] = [*map(shifted, levels)]
        return found

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
        return latents

    def test_all_text_encoders_read_a_prompt_as_in_the_reference_pipeline(self, model: Any) -> None:
        for prompt in ("a red bus", "", "word " * 200):
            requested = self.request(prompt=prompt, clip_skip=2, **GUIDED)
            text = tiny_models.encoded_request(model, requested)
            embeds, negative, pooled, negative_pooled = model.pipeline.encode_prompt(
                prompt,
                None,
                None,
                negative_prompt=GUIDED["negative_prompt"],
                clip_skip=1,
                max_sequence_length=MAX_TOKENS,
            )
            assert_equal(text.embeds, torch.cat([negative, embeds]))
            assert_equal(text.pooled, torch.cat([negative_pooled, pooled]))

    def test_clip_skip_equals_the_reference_pipeline(self, model: Any) -> None:
        requested = self.request(clip_skip=2, scheduler=EULER, **GUIDED)
        latents = denoised(model, requested)
        assert_equal(latents, self.reference_result(model, requested))
        assert not torch.allclose(latents, denoised(model, self.request(scheduler=EULER, **GUIDED)), atol=1e-3)

    def test_the_words_that_t5_does_not_read_are_quoted(self, model: Any) -> None:
        assert model.tokenize(PaintSettings(prompt="a " * 126 + "b")).notes == ()
        (note,) = model.tokenize(PaintSettings(prompt="a " * 126 + "b unread")).notes
        assert note.endswith("(255 tokens); not read: “unread”.")
        (note,) = model.tokenize(PaintSettings(prompt="a (red:1.3) bus")).notes
        assert "reads no weights" in note

    def test_when_memory_is_short_rows_are_computed_one_after_another(self, spec: Any) -> None:
        loaded, requested = load(spec, CPU), self.request(guidance_scale=4.0)
        assert loaded.reduce_memory(Size(64, 64))  # tiles
        before = denoised(loaded, requested)
        assert loaded.reduce_memory(Size(64, 64))
        calls: list[int] = []
        loaded.transformer.register_forward_pre_hook(
            lambda module, given, named: calls.append(len(named["hidden_states"])), with_kwargs=True
        )
        assert_equal(denoised(loaded, requested), before)
        assert calls == [1] * 2 * STEPS


def shifted(level: float) -> float:
    return SHIFT * level / (1 + (SHIFT - 1) * level)


def test_the_noise_levels_end_where_those_of_the_scheduler_do(tmp_path: Any) -> None:
    model: Any = load(tiny_models.saved(tmp_path / "sd3", "sd3"), CPU)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
    scheduler.set_timesteps(4)
    levels = model.levels(scheduler, 4)
    assert levels == pytest.approx([1.0, 0.66767, 0.33533, 0.002994], abs=1e-4)
