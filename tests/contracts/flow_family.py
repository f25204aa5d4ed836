"""What every family of flow-matching models must do, and those of them that are guided by a negative prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch

from inpainting import families
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.lora_files import detect_family
from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec
from inpainting.core.adapter_uses import LoraUse
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion import first_block_cache
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.z_image.network import MAX_TOKENS
from inpainting.networks.device.hardware import Hardware
from tests.contracts.family import FamilyContract, assert_equal, assert_same_image
from tests.engines.diffusion import plain_flow
from tests.engines.diffusion.pipelines import (
    CPU,
    STEPS,
    ShiftedHeun,
    call_arguments,
    counting_steps,
    denoised,
    ignore_step,
)
from tests.engines.diffusion.plain_flow import EULER, HEUN
from tests.support import tiny_loras, tiny_models

LORA = "ink"
STRENGTHS = ({"strength": 0.3, "steps": 12}, {"strength": 0.75}, {"strength": 1.0})
BATCHED = tuple(
    {
        "guidance_scale": (1.0, 4.0)[seed % 2],
        "strength": (1.0, 0.75)[seed % 2],
        "scheduler": (EULER, EULER, HEUN)[seed % 3],
    }
    for seed in range(8)
)


def cases(*settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Each of these settings with a low, a usual and the full strength."""
    return [{**strength, **changed} for strength in STRENGTHS for changed in settings]


class FlowContract(FamilyContract):
    """A subclass names diffusers' `pipeline`, the `arguments` that it takes, and how its latents become ours."""

    pipeline: ClassVar[type[Any]]
    cases = cases({"scheduler": EULER}, {"scheduler": HEUN})
    batched = BATCHED

    def request(self, **settings: Any) -> InpaintRequest:
        return plain_flow.request(**settings)

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        return {"guidance_scale": model.guidance(settings)}

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
        """The pipeline's latents in the shape of ours."""
        return torch.as_tensor(reference._unpack_latents(latents, size.height, size.width, reference.vae_scale_factor))

    def reference_result(
        self, model: LatentModel, requested: InpaintRequest, *, scheduler: Any = None, **changes: Any
    ) -> Any:
        if scheduler is None and requested.settings.scheduler == HEUN:
            scheduler = ShiftedHeun()
        if scheduler is None:
            scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
        kind = counting_steps(self.pipeline, scheduler)
        reference = kind(**{**model.pipeline.components, "scheduler": scheduler})
        reference.set_progress_bar_config(disable=True)
        arguments = {**call_arguments(requested), **self.arguments(model, requested.settings), **changes}
        answer = reference(**arguments).images
        return answer if "output_type" in changes else self.unpacked(reference, answer, requested.image.size)

    @pytest.mark.parametrize("threshold", [0.3, 100.0])
    def test_steps_that_skip_blocks_equal_those_of_the_reference_pipeline(
        self, model: Any, monkeypatch: pytest.MonkeyPatch, threshold: float
    ) -> None:
        if not families.get(self.family).caches_blocks:
            pytest.skip("The family ignores the setting.")
        monkeypatch.setattr(first_block_cache, "THRESHOLDS", {"fast": threshold})
        requested, network = self.request(guidance_scale=1.0, strength=1.0), model.network
        state, _ = model.start(requested, 0, tiny_models.encoded_request(model, requested))
        while not state.is_done:
            with model.block_cache.applied(network, state, "fast"):
                (answer,) = model.predict([state])
            state.advance(answer)
        model.block_cache.remove()
        first_block_cache.enable(network, threshold)
        with network.cache_context("the reference"):
            expected = self.reference_result(model, requested)
        network.disable_cache()
        assert_equal(state.latents, expected)
        if threshold == 100.0:
            assert not torch.allclose(state.latents, denoised(model, requested), atol=1e-3)

    def test_a_skipped_step_answers_as_the_whole_one_with_the_same_latents(
        self, model: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not families.get(self.family).caches_blocks:
            pytest.skip("The family ignores the setting.")
        monkeypatch.setattr(first_block_cache, "THRESHOLDS", {"fast": 0.001})
        requested, network = self.request(guidance_scale=4.0), model.network
        state, _ = model.start(requested, 0, tiny_models.encoded_request(model, requested))
        (expected,) = model.predict([state])
        whole: list[int] = []
        blocks = getattr(network, "single_transformer_blocks", network.transformer_blocks)
        handle = blocks[-1].attn.register_forward_hook(lambda *_: whole.append(1))
        with model.block_cache.applied(network, state, "fast"):
            answers = [model.predict([state])[0] for _ in range(3)]
        handle.remove()
        model.block_cache.remove()
        assert whole == [1], "the others take what its blocks added"
        for answer in answers:
            assert_equal(answer, expected)

    def test_another_vae_encodes_and_decodes_as_in_the_reference_pipeline(
        self, tmp_path: Path, spec: ModelSpec
    ) -> None:
        if families.get(self.family).vae_scaling_factor is None:
            pytest.skip("The family takes no other VAE.")
        model: Any = load(spec, CPU)
        torch.manual_seed(9)
        type(model.vae).from_config(model.vae.config).save_pretrained(tmp_path)
        vae = load_adapter(ModelSpec("soft", "Soft", self.family, kind=Kind.VAE, path=tmp_path), CPU)
        requested = self.request(strength=0.7)
        (own,) = model.codec().decode(denoised(model, requested))
        (image,) = model.codec(vae).decode(denoised(model, requested, codec=model.codec(vae)))
        model.pipeline.register_modules(vae=vae)
        assert_same_image(image, np.asarray(self.reference_result(model, requested, output_type="pil")[0]))
        assert not np.array_equal(image, own)

    def test_it_never_computes_in_float16(self, spec: ModelSpec) -> None:
        loaded = load(spec, Hardware(torch.device("cpu"), torch.float16))
        networks = [part for part in loaded.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        assert len(networks) >= 3
        assert {network.dtype for network in networks} == {torch.bfloat16}
        assert torch.isfinite(denoised(loaded, self.request())).all()


class FlowLoraContract(FlowContract):
    """Of the families whose LoRAs diffusers' pipeline loads.

    A subclass names a layer that the model lacks, the namings that the pipeline reads, and what a LoRA changes.
    """

    unknown_layer: ClassVar[str]
    lora_namings: ClassVar[tuple[str, ...]] = ("diffusers", "kohya", "ai-toolkit")
    lora_components: ClassVar[tuple[str, ...]] = ("transformer",)
    lora_layers: ClassVar[tuple[str, ...]] = ()
    """Layers beside those of attention, as trainers take them."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        super().pytest_generate_tests(metafunc)
        if "naming" in metafunc.fixturenames:
            metafunc.parametrize("naming", self.lora_namings)

    def lora(self, model: Any, naming: str) -> dict[str, torch.Tensor]:
        """The tensors of a LoRA, named as a trainer does."""
        tensors = tiny_loras.weights(
            model.pipeline, parts=self.lora_components, kohya=naming == "kohya", more_layers=self.lora_layers
        )
        if naming == "ai-toolkit":
            return {name.replace("transformer.", "diffusion_model.", 1): tensor for name, tensor in tensors.items()}
        return tensors

    def test_a_lora_in_each_naming_gives_the_result_of_the_reference_pipeline(
        self, tmp_path: Path, spec: ModelSpec, model: Any, naming: str
    ) -> None:
        file = tiny_loras.saved(tmp_path / f"{LORA}.safetensors", self.lora(model, naming))
        family = families.lora_family(self.family)
        assert detect_family(read_header(file)) == family
        lora = LoraSpec(LORA, LORA, family, path=file)
        requested = self.request(loras=(LoraUse(LORA, 0.8),))
        (painted,), _ = Batcher(ModelCache(CPU, 10**9), max_rows=1).paint(requested, spec, ignore_step, [lora])

        reference = self.pipeline.from_pretrained(spec.path, **families.get(self.family).pipeline_arguments)
        reference.set_progress_bar_config(disable=True)
        reference.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=LORA)
        reference.set_adapters([LORA], [0.8])
        arguments = {**call_arguments(requested), **self.arguments(model, requested.settings), "output_type": "pil"}
        assert_same_image(painted, np.asarray(reference(**arguments).images[0]))
        assert np.abs(painted.astype(int) - self.paint(model, self.request())[0]).max() > 1

    @pytest.mark.parametrize("trainer", ["kohya", "ai-toolkit"])
    def test_tensors_of_a_lora_for_layers_that_the_model_lacks_are_named(
        self, tmp_path: Path, spec: ModelSpec, model: Any, trainer: str
    ) -> None:
        tensors, layer = self.lora(model, trainer), self.unknown_layer.replace(".", "_")
        is_kohya = trainer == "kohya"
        stem = f"lora_unet_{layer}" if is_kohya else f"diffusion_model.{self.unknown_layer}"
        down, up = ("lora_down", "lora_up") if is_kohya else ("lora_A", "lora_B")
        rank = next(len(tensor) for name, tensor in tensors.items() if name.endswith(f"{down}.weight"))
        tensors |= {f"{stem}.{down}.weight": torch.ones(rank, 8), f"{stem}.{up}.weight": torch.ones(24, rank)}
        file = tiny_loras.saved(tmp_path / f"{LORA}.safetensors", tensors)
        lora = LoraSpec(LORA, LORA, families.lora_family(self.family), path=file)
        requested = self.request(loras=(LoraUse(LORA, 0.8),))
        _, notes = Batcher(ModelCache(CPU, 10**9)).paint(requested, spec, ignore_step, [lora])
        assert any(layer in note.replace(".", "_") for note in notes), notes


class GuidedFlowContract(FlowLoraContract):
    """Of the families that were not trained for inpainting, are guided by a negative prompt and read many words.

    A subclass also says how the pipeline encodes words.
    """

    cases = cases({}, {"guidance_scale": 5.0, "negative_prompt": "blurred, and more words than in the prompt"})

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        """[tokens, width]: words as the reference pipeline encodes them."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def shifted(cls, spec: ModelSpec) -> Any:
        """A loaded model whose noise levels depend on the image size."""
        loaded = load(spec, CPU)
        loaded.scheduler_config = {"use_dynamic_shifting": True, "num_train_timesteps": 1000}
        return loaded

    @pytest.mark.parametrize("strength", [0.75, 1.0])
    @pytest.mark.parametrize("scheduler", [EULER, HEUN])
    def test_noise_levels_shifted_by_the_image_size_equal_the_reference_pipeline(
        self, shifted: Any, scheduler: str, strength: float
    ) -> None:
        requested = self.request(scheduler=scheduler, strength=strength)
        assert_equal(denoised(shifted, requested), self.reference_result(shifted, requested))

    def test_guidance_is_applied_between_its_start_and_end_only(self, model: Any) -> None:
        plain, guided, part, never = (
            denoised(model, self.request(negative_prompt="blur", **settings))
            for settings in (
                {"guidance_scale": 1.0},
                {"guidance_scale": 5.0},
                {"guidance_scale": 5.0, "guidance_start": 0.2, "guidance_end": 0.6},
                {"guidance_scale": 5.0, "guidance_start": 0.9},
            )
        )
        assert_equal(never, plain)
        distances = [float((latents - plain).norm()) for latents in (part, guided)]
        assert 0.01 < distances[0] < distances[1]

    def test_a_prompt_is_encoded_as_by_the_reference_pipeline_without_padding(self, model: Any) -> None:
        for prompt in ("a red bus", "", "a b c\nsecond line", "x " * 300):
            requested = self.request(prompt=prompt, guidance_scale=3.0, negative_prompt="blur")
            text = tiny_models.encoded_request(model, requested)
            for row, words in zip(text.row_embeds, ("blur", prompt), strict=True):
                assert_equal(row, self.encoded_by_reference(model, words))

    def test_the_words_after_the_last_token_are_quoted(self, model: Any) -> None:
        assert model.tokenize(PaintSettings(prompt="a " * 150)).notes == ()
        long = model.tokenize(PaintSettings(prompt="a " * 260 + "zebra"))
        assert len(long.ids[-1]) == getattr(model, "skipped_tokens", 0) + MAX_TOKENS
        (note,) = long.notes
        assert note.startswith(f"The prompt is longer than the model reads ({MAX_TOKENS} tokens)")
        assert note.endswith("zebra”.")
        (note,) = model.tokenize(PaintSettings(prompt="a (red:1.3) bus")).notes
        assert "reads no weights" in note

    def test_when_memory_is_short_rows_are_computed_one_after_another(self, spec: ModelSpec) -> None:
        loaded, requested = load(spec, CPU), self.request(guidance_scale=4.0)
        assert loaded.reduce_memory(Size(64, 64))  # tiles
        before = denoised(loaded, requested)
        assert loaded.reduce_memory(Size(64, 64))
        calls: list[int] = []
        loaded.transformer.register_forward_pre_hook(
            lambda module, given, named: calls.append(len(given[0] if given else named["hidden_states"])),
            with_kwargs=True,
        )
        assert_equal(denoised(loaded, requested), before)
        assert calls == [1] * 2 * STEPS
