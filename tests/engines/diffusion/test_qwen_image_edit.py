"""Qwen-Image-Edit: the contract of guided flow-matching families, what its text encoder sees, and reference images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_inpaint, pipeline_qwenimage_edit_plus
from PIL import Image
from skimage import data
from transformers import ProcessorMixin, Qwen2VLProcessor

from inpainting.catalog.inspection.files import names_in
from inpainting.catalog.inspection.formats.diffusers_folder import pipeline_files
from inpainting.core.adapter_uses import REFERENCES
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.conditioning.reference_images import as_pil, reference_images
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.qwen_image_edit.network import scale_to_area
from inpainting.families.z_image.network import MAX_TOKENS
from tests.contracts.family import assert_equal, assert_same_image
from tests.contracts.flow_family import GuidedFlowContract
from tests.engines.diffusion.pipelines import CPU, call_arguments, denoised
from tests.engines.diffusion.plain_flow import HEIGHT, WIDTH
from tests.support import tiny_models

PHOTO = data.coffee()
LOOKS = [np.ascontiguousarray(PHOTO[:height, :width]) for height, width in ((80, 64), (60, 119), (300, 310))]


class Processor(Qwen2VLProcessor):  # type: ignore[misc]  # transformers ships no types
    """The published processor without that of videos, which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_token = "<|image_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token, self.video_token_id = "<|video_pad|>", None
        ProcessorMixin.__init__(self, image_processor, tokenizer)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        return type(argument)


class InpaintPipeline(diffusers.QwenImageEditInpaintPipeline):  # type: ignore[misc]  # diffusers ships no types
    """The inpainting pipeline with the mode of the VAE's distribution, as the editing pipeline has it."""

    _encode_vae_image = diffusers.QwenImageEditPlusPipeline._encode_vae_image


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipelines scale all images to a megapixel; here to the size of the requests."""
    small = pipeline_qwenimage_edit_plus.calculate_dimensions
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", HEIGHT * WIDTH)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", 4 * HEIGHT * WIDTH)
    monkeypatch.setattr(
        pipeline_qwenimage_edit_inpaint,
        "calculate_dimensions",
        lambda area, ratio: (*small(HEIGHT * WIDTH, ratio), None),
    )


class TestQwenImageEdit(GuidedFlowContract):
    family = "qwen-image-edit"
    pipeline = InpaintPipeline
    unknown_layer = "transformer_blocks.7.attn.to_q"
    lora_namings = ("diffusers", "kohya", "ai-toolkit")
    lora_layers = ("img_mlp.net.2", "txt_mod.1", "img_in")

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        return embedded(model, replace(self.request(), settings=settings))

    def reference_result(self, model: Any, requested: InpaintRequest, **changes: Any) -> Any:
        return super().reference_result(model, requested, **{**embedded(model, requested), **changes})

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
        return super().unpacked(reference, latents, size)[:, :, 0]

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        (embeds,), mask = embeds_of(model, self.request(), words)
        assert mask is None
        after = len(model.pipeline.tokenizer(f"{words}{model.after}").input_ids)
        return torch.as_tensor(embeds)[: len(embeds) - after + MAX_TOKENS]  # the pipeline reads any number of tokens

    @pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_an_edit_without_a_mask_equals_the_editing_pipeline(
        self, model: Any, guidance_scale: float, count: int
    ) -> None:
        requested = editing(self.request(guidance_scale=guidance_scale, negative_prompt="blur"), count)
        latents = edited(model, requested)
        assert_equal(denoised(model, requested), self.unpacked(model.pipeline, latents, requested.image.size))

    def test_an_edited_image_equals_that_of_the_editing_pipeline(self, model: Any) -> None:
        requested = editing(self.request(guidance_scale=4.0), 2)
        assert_same_image(self.paint(model, requested)[0], np.asarray(edited(model, requested, output_type="pil")[0]))

    def test_the_second_edition_sees_its_images_without_noise(self, spec: Any) -> None:
        """`zero_cond_t` of the transformer of 2511."""
        loaded = load(spec, CPU)
        loaded.pipeline.transformer.register_to_config(zero_cond_t=True)
        loaded.pipeline.transformer.zero_cond_t = True
        for block in loaded.pipeline.transformer.transformer_blocks:
            block.zero_cond_t = True
        requested = editing(self.request(guidance_scale=4.0), 1)
        latents = edited(loaded, requested)
        result = denoised(loaded, requested)
        assert_equal(result, self.unpacked(loaded.pipeline, latents, requested.image.size))
        assert not torch.allclose(result, denoised(load(spec, CPU), requested), atol=1e-3)

    def test_each_image_changes_the_text_and_the_result(self, model: Any) -> None:
        usual = editing(self.request(guidance_scale=4.0), 2)
        other = CanonicalImage(np.ascontiguousarray(data.chelsea()[:60, :119]))
        changes = (
            replace(usual, image=CanonicalImage(255 - np.asarray(usual.image.pixels, np.uint8))),
            replace(usual, conditioning_images={**usual.conditioning_images, "reference_image_2": other}),
        )
        text, expected = tiny_models.encoded_request(model, usual).row_embeds[-1], denoised(model, usual)
        for requested in changes:
            assert not torch.allclose(tiny_models.encoded_request(model, requested).row_embeds[-1], text, atol=1e-3)
            assert not torch.allclose(denoised(model, requested), expected, atol=1e-3)

    def test_an_image_token_in_a_prompt_stands_for_no_image(self, model: Any) -> None:
        requested = self.request(prompt="a <|image_pad|>red bus", guidance_scale=1.0)
        plain = self.request(prompt="a red bus", guidance_scale=1.0)
        assert torch.equal(denoised(model, requested), denoised(model, plain))


def test_the_files_of_the_processor_belong_to_the_model(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "edit", "qwen-image-edit")
    index = json.loads((tmp_path / "edit/model_index.json").read_text())
    files = pipeline_files(names_in(tmp_path / "edit"), index, "fp16", spec.family)
    assert "processor/preprocessor_config.json" in files
    (tmp_path / "edit/processor/preprocessor_config.json").unlink()
    with pytest.raises(EngineFailed, match="cannot be loaded"):
        load(spec, CPU)


def editing(requested: InpaintRequest, count: int) -> InpaintRequest:
    """The request without its mask, with so many reference images."""
    images = {name: CanonicalImage(look) for name, look in zip(REFERENCES.images, LOOKS[:count], strict=False)}
    mask = np.full_like(requested.mask, 255)
    return replace(requested, mask=mask, has_mask=False, conditioning_images=images)


def embedded(model: Any, requested: InpaintRequest) -> dict[str, Any]:
    """The arguments of the inpainting pipeline, with the embeddings of the editing pipeline."""
    settings, arguments = requested.settings, dict[str, Any]()
    for field, name in (("prompt", "prompt_embeds"), ("negative_prompt", "negative_prompt_embeds")):
        embeds, mask = embeds_of(model, requested, getattr(settings, field))
        assert mask is None
        arguments[name] = embeds
    return {"prompt": None, "true_cfg_scale": model.guidance(settings), **arguments}


def embeds_of(model: Any, requested: InpaintRequest, words: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    area = pipeline_qwenimage_edit_plus.CONDITION_IMAGE_SIZE
    images = [scale_to_area(image, area) for image in seen(requested)]
    with token_types(model):
        embeds, mask = editing_pipeline(model).encode_prompt(words, images)
    return embeds, mask


def seen(requested: InpaintRequest) -> Sequence[Image.Image]:
    return [as_pil(image) for image in (requested.image, *reference_images(requested))]


def edited(model: Any, requested: InpaintRequest, output_type: str = "latent") -> Any:
    """What diffusers' pipeline for editing makes of the images."""
    arguments, settings = call_arguments(requested), requested.settings
    for name in ("mask_image", "strength"):
        arguments.pop(name)
    words = {"negative_prompt": settings.negative_prompt, "true_cfg_scale": model.guidance(settings)}
    with token_types(model):
        return editing_pipeline(model)(
            **{**arguments, **words, "image": seen(requested), "output_type": output_type}
        ).images


def editing_pipeline(model: Any) -> Any:
    processor = Processor(model.image_processor, model.pipeline.tokenizer)
    made = diffusers.QwenImageEditPlusPipeline(**{**model.pipeline.components, "processor": processor})
    made.set_progress_bar_config(disable=True)
    return made


@contextmanager
def token_types(model: Any) -> Iterator[None]:
    """Number the parts of images by rows and columns.

    transformers 4 always did; 5 does it where it is told which tokens they are, which diffusers' pipeline does not do.
    """
    reader = model.pipeline.text_encoder
    forward = reader.forward

    def typed(**given: Any) -> Any:
        types = (given["input_ids"] == model.image_token).int()
        return forward(**{"mm_token_type_ids": types, **given})

    reader.forward = typed
    try:
        yield
    finally:
        reader.forward = forward


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 1000), (384, 384)), ((300, 200), (480, 320)), ((9000, 10), (3840, 32)), ((1, 5000), (32, 3840))],
)
def test_an_image_is_scaled_to_an_area(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert scale_to_area(Image.new("RGB", size), 384 * 384).size == expected
