"""FLUX.2 klein: the contract of guided flow-matching families, editing without a mask, and distilled models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from PIL import Image
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core import adapter_uses
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.conditioning.reference_images import as_pil, limit_area, reference_images
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.vae_formats import latent_statistics
from tests.contracts.family import assert_equal, assert_same_image, batcher_with
from tests.contracts.flow_family import GuidedFlowContract
from tests.engines.diffusion.pipelines import CPU, call_arguments, denoised, ignore_step
from tests.support import tiny_models

IMAGE, TEXT = ("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")
ORIGINAL = {
    **{
        f"double_blocks.1.{name}_attn.qkv": [f"transformer_blocks.1.attn.{layer}" for layer in layers]
        for name, layers in (("img", IMAGE), ("txt", TEXT))
    },
    "double_blocks.0.img_attn.proj": ["transformer_blocks.0.attn.to_out.0"],
    "double_blocks.0.txt_attn.proj": ["transformer_blocks.0.attn.to_add_out"],
    "double_blocks.0.img_mlp.0": ["transformer_blocks.0.ff.linear_in"],
    "double_blocks.0.img_mlp.2": ["transformer_blocks.0.ff.linear_out"],
    "double_blocks.0.txt_mlp.0": ["transformer_blocks.0.ff_context.linear_in"],
    "double_blocks.0.txt_mlp.2": ["transformer_blocks.0.ff_context.linear_out"],
    "single_blocks.1.linear1": ["single_transformer_blocks.1.attn.to_qkv_mlp_proj"],
    "single_blocks.0.linear2": ["single_transformer_blocks.0.attn.to_out"],
    "img_in": ["x_embedder"],
    "txt_in": ["context_embedder"],
    "time_in.in_layer": ["time_guidance_embed.timestep_embedder.linear_1"],
    "time_in.out_layer": ["time_guidance_embed.timestep_embedder.linear_2"],
    "final_layer.linear": ["proj_out"],
}
"""Layers by the names of Black Forest Labs -> those of diffusers that they are."""
MODULATIONS = {
    f"{name}.lin": [f"{name}.linear"]
    for name in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")
}
"""The same for layers that kohya-ss does not train."""

PHOTO = data.coffee()
REFERENCES = [
    Image.fromarray(np.ascontiguousarray(PHOTO[:height, :width]))
    for height, width in ((80, 64), (64, 119), (70, 70), (64, 64))
]
"""Two of them are cropped to sides that are multiples of 16."""


class TestFlux2Klein(GuidedFlowContract):
    family = "flux2-klein"
    pipeline = diffusers.Flux2KleinInpaintPipeline
    unknown_layer = "transformer_blocks.7.attn.to_q"

    def request(self, **settings: Any) -> InpaintRequest:
        """The mask is on the grid of the patches: the pipeline scales it to them, and here it is of latent pixels."""
        requested = super().request(**settings)
        mask = np.zeros_like(requested.mask)
        mask[16:48, 16:48] = 255
        return replace(requested, mask=mask)

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        guided = super().arguments(model, settings)
        if not settings.negative_prompt:
            return guided
        return {**guided, "negative_prompt_embeds": model.pipeline.encode_prompt(settings.negative_prompt)[0]}

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
        """The pipeline returns them as its VAE decodes them."""
        mean, deviation = latent_statistics(reference.vae, latents) or (0, 1)
        return torch.as_tensor((latents - mean) / deviation)

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        return torch.as_tensor(model.pipeline.encode_prompt(words)[0][0])

    def lora(self, model: Any, naming: str) -> dict[str, torch.Tensor]:
        generator, tensors = torch.Generator().manual_seed(0), dict[str, torch.Tensor]()
        for original, paths in (ORIGINAL if naming == "kohya" else ORIGINAL | MODULATIONS).items():
            layers = [model.transformer.get_submodule(path) for path in paths]
            down = torch.randn(4, layers[0].in_features, generator=generator) * 0.15
            ups = [torch.randn(layer.out_features, 4, generator=generator) * 0.15 for layer in layers]
            if naming == "diffusers":
                for path, up in zip(paths, ups, strict=True):
                    stem = f"transformer.{path}"
                    tensors |= {f"{stem}.lora_A.weight": down.clone(), f"{stem}.lora_B.weight": up}
            elif naming == "kohya":
                stem = f"lora_unet_{original.replace('.', '_')}"
                tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": torch.cat(ups)}
                tensors[f"{stem}.alpha"] = torch.tensor(2.0)
            else:
                stem = f"diffusion_model.{original}"
                tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": torch.cat(ups)}
        return tensors

    @pytest.mark.parametrize(("height", "width"), [(80, 112), (48, 144)])
    @pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
    def test_images_of_other_sizes_equal_the_reference_pipeline(
        self, model: Any, height: int, width: int, guidance_scale: float
    ) -> None:
        pixels = np.ascontiguousarray(data.astronaut()[: 4 * height : 4, 50 : 50 + 3 * width : 3])
        mask = np.zeros((height, width), np.uint8)
        mask[:32, 32:96] = 255
        usual = self.request(guidance_scale=guidance_scale, strength=0.8)
        requested = replace(usual, image=CanonicalImage(pixels), mask=mask)
        assert_equal(denoised(model, requested), self.reference_result(model, requested))

    @pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
    def test_an_edit_without_a_mask_equals_the_editing_pipeline(self, model: Any, guidance_scale: float) -> None:
        requested = without_mask(self.request(guidance_scale=guidance_scale))
        latents = edited(model, requested, output_type="latent")
        assert_equal(denoised(model, requested), self.unpacked(model.pipeline, latents, requested.image.size))
        assert_same_image(self.paint(model, requested)[0], np.asarray(edited(model, requested)[0]))

    def test_edits_without_a_mask_share_calls_with_masked_requests(self, model: Any) -> None:
        requested = without_mask(self.request(num_images=2))
        together = batcher_with(model, max_rows=32).paint(requested, model.spec, ignore_step)[0]
        assert_same_image(together[0], np.asarray(edited(model, requested)[0]))

    @pytest.mark.parametrize("count", [1, 4])
    def test_an_edit_with_reference_images_equals_the_editing_pipeline(self, model: Any, count: int) -> None:
        requested = with_references(without_mask(self.request(guidance_scale=4.0)), count)
        latents = edited(model, requested, output_type="latent")
        result = denoised(model, requested)
        assert_equal(result, self.unpacked(model.pipeline, latents, requested.image.size))
        assert not torch.allclose(result, denoised(model, with_references(requested, 0)), atol=1e-3)

    def test_a_masked_edit_with_a_reference_image_equals_the_inpainting_pipeline(self, model: Any) -> None:
        requested = with_references(self.request(guidance_scale=4.0, strength=0.8), 1)
        expected = self.reference_result(model, requested, **{"image_reference": REFERENCES[0]})
        assert_equal(denoised(model, requested), expected)

    def test_images_with_other_references_are_painted_in_turn(self, model: Any) -> None:
        batcher = batcher_with(model, max_rows=32)
        one, two = (with_references(without_mask(self.request()), count) for count in (1, 2))
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(batcher.paint, requested, model.spec, ignore_step) for requested in (one, two, one)]
            painted = [job.result()[0][0] for job in jobs]
        for image, requested in zip(painted, (one, two, one), strict=True):
            assert_same_image(image, np.asarray(edited(model, requested)[0]))

    def test_the_source_image_and_prompt_change_what_is_painted(self, model: Any) -> None:
        usual = self.request()
        pixels = np.asarray(usual.image.pixels)
        inverted = np.where(usual.mask[..., None] > 0, 255 - pixels, pixels)
        # At a strength of 1 the noise hides nothing of the image.
        changed = [replace(usual, image=replace(usual.image, pixels=inverted)), self.request(prompt="a lawn")]
        expected = denoised(model, usual)
        for requested in changed:
            latents = denoised(model, requested)
            assert_equal(latents, self.reference_result(model, requested))
            assert not torch.allclose(latents, expected, atol=1e-3)


class TestDistilled:
    """A distilled model, as its model_index.json says, takes one row an image and reads no guidance."""

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
        folder = tmp_path_factory.mktemp("models")
        pipeline = tiny_models.flux2_klein(folder / "words", is_distilled=True)
        published = diffusers.Flux2KleinPipeline(**pipeline.components, is_distilled=True)
        published.save_pretrained(folder / "klein", safe_serialization=True)
        return replace(tiny_models.saved(folder / "other", "flux2-klein"), path=folder / "klein")

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, spec: ModelSpec) -> Any:
        return load(spec, CPU)

    def test_guidance_is_not_read_and_named(self, model: Any) -> None:
        requests = [TestFlux2Klein().request(**settings) for settings in ({}, {"guidance_scale": 4.0})]
        assert [model.rows_for(requested.settings) for requested in requests] == [1, 1]
        plain, guided = (denoised(model, requested) for requested in requests)
        assert torch.equal(plain, guided)
        notes = [
            model.start(requested, 0, tiny_models.encoded(model, requested.settings, requested.image.size))[1]
            for requested in requests
        ]
        assert notes == [(), ("This model is distilled: guidance_scale and negative_prompt were not read.",)]

    def test_an_edit_equals_the_editing_pipeline(self, model: Any) -> None:
        requested = without_mask(TestFlux2Klein().request(guidance_scale=4.0))
        image = batcher_with(model, max_rows=1).paint(requested, model.spec, ignore_step)[0][0]
        assert_same_image(image, np.asarray(edited(model, requested)[0]))


def without_mask(requested: InpaintRequest) -> InpaintRequest:
    return replace(requested, mask=np.full_like(requested.mask, 255), has_mask=False)


def with_references(requested: InpaintRequest, count: int) -> InpaintRequest:
    names = adapter_uses.REFERENCES.images
    images = {name: CanonicalImage(np.asarray(image)) for name, image in zip(names, REFERENCES[:count], strict=False)}
    return replace(requested, conditioning_images=images)


def edited(model: Any, requested: InpaintRequest, *, output_type: str = "pil") -> Any:
    """What diffusers' pipeline for editing makes of the source image: images, or latents as its VAE decodes them."""
    switches = tiny_models.switches(model.pipeline)
    reference = diffusers.Flux2KleinPipeline(**model.pipeline.components, **switches)
    reference.set_progress_bar_config(disable=True)
    arguments = call_arguments(requested)
    arguments["image"] = [arguments["image"], *map(as_pil, reference_images(requested))]
    for name in ("mask_image", "strength"):
        arguments.pop(name)
    guidance = {"guidance_scale": model.guidance(requested.settings)}
    return reference(**{**arguments, **guidance, "output_type": output_type}).images


@pytest.mark.parametrize(
    ("size", "expected"),
    [((2000, 1000), (1440, 720)), ((31, 16), (16, 16)), ((5, 40), (16, 32)), ((64, 80), (64, 80))],
)
def test_a_reference_image_is_scaled_down_to_an_area_and_cropped(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert limit_area(Image.new("RGB", size), 1024 * 1024, 16).size == expected


def test_a_large_reference_image_is_scaled_as_by_the_editing_pipeline() -> None:
    photo = Image.fromarray(data.astronaut()).resize((1300, 900))
    scaled = Flux2ImageProcessor._resize_to_target_area(photo, 1024 * 1024)
    width, height = (side // 16 * 16 for side in scaled.size)
    expected = Flux2ImageProcessor()._resize_and_crop(scaled, width, height)
    assert np.array_equal(np.asarray(limit_area(photo, 1024 * 1024, 16)), np.asarray(expected))
