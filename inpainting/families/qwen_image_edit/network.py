"""Qwen-Image-Edit: Qwen-Image with the source image and reference images as further tokens, and before its prompt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as published
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.reference_images import as_pil, encode_references, reference_images
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.sampling.sample_inputs import digest
from inpainting.families.qwen_image.network import QwenImage
from inpainting.families.z_image.network import ZImagePrompts
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.transformers_models import load_processor

INSTRUCTION = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new image "
    "that meets the user's requirements while maintaining consistency with the original input where appropriate."
    "<|im_end|>\n<|im_start|>user\n"
)
"""The text of the template in `QwenImageEditPlusPipeline` before the images, where SKIPPED_TOKENS is from too."""
SKIPPED_TOKENS = 64
IMAGE_PLACEHOLDER = "<|image_pad|>"
MAX_SIDE_RATIO = 100
"""Longer images are squeezed: Qwen2.5-VL refuses those that are 200 times as long as wide."""


class QwenImageEdit(QwenImage):
    """A loaded model of the family qwen-image-edit, which was not trained for masks: kept parts are restored in each
    step.

    Its text encoder sees the source image and the reference images, with the prompt after them.
    """

    samples_image = False
    sees_images: ClassVar[bool] = True
    before: ClassVar[str] = ""
    skipped_tokens: ClassVar[int] = 0

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        folder = Path(str(spec.path)) / "processor"
        self.image_processor = load_processor(spec, Qwen2VLImageProcessorPil, folder)
        self.image_token = int(pipeline.tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER))

    def _tokenize(self, field: str, prompt: str, notes: list[str]) -> list[int]:
        """Return the token ids of a prompt and what follows it, without those that stand for parts of images."""
        return [token for token in super()._tokenize(field, prompt, notes) if token != self.image_token]

    @torch.inference_mode()
    def encode_request(self, prompts: ZImagePrompts, request: InpaintRequest) -> TextConditioning:
        """Return `embeds` of [rows, tokens, features] of the images and the prompts, by the last layer."""
        seen = [request.image, *reference_images(request)]
        images = [scale_to_area(as_pil(image), published.CONDITION_IMAGE_SIZE) for image in seen]
        given = self.image_processor(images, return_tensors="pt")
        counts = (given.image_grid_thw.prod(dim=1) // self.image_processor.merge_size**2).tolist()
        pictures = (
            f"Picture {number}: <|vision_start|>{IMAGE_PLACEHOLDER * count}<|vision_end|>"
            for number, count in enumerate(counts, 1)
        )
        before = self.pipeline.tokenizer(f"{INSTRUCTION}{''.join(pictures)}", verbose=False).input_ids
        key = tuple(digest(image.pixels) for image in seen)
        rows = [
            self.encoded_once((*key, *ids), partial(self._encode_images, [*before, *ids], given)) for ids in prompts.ids
        ]
        return TextConditioning(pad_sequence(rows, batch_first=True), lengths=tuple(map(len, rows)))

    def _encode_images(self, ids: list[int], given: Any) -> torch.Tensor:
        """Return [tokens, features] without those of the instruction.

        given: the images as the image processor returns them.
        """
        device = self.hardware.device
        tokens = torch.tensor([ids], device=device)
        encoded = self.pipeline.text_encoder(
            input_ids=tokens,
            pixel_values=given.pixel_values.to(device),
            image_grid_thw=given.image_grid_thw.to(device),
            # Without, transformers 5 numbers the parts of an image as words; it was trained with rows and columns.
            mm_token_type_ids=(tokens == self.image_token).int(),
            output_hidden_states=True,
            use_cache=False,
            logits_to_keep=1,
        )
        return torch.as_tensor(encoded.hidden_states[-1][0, SKIPPED_TOKENS:])

    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """Start an image as `LatentModel.start` describes. The window's sides are multiples of 16."""
        codec = codec or self.codec()
        state, notes = super().start(request, index, text, codec)
        with torch.inference_mode():
            state.references = encode_references(request, codec, partial(scale_to_area, area=published.VAE_IMAGE_SIZE))
        return state, notes


def scale_to_area(image: Image.Image, area: int) -> Image.Image:
    """Return an image at about `area` pixels, with sides that are multiples of 32, as `QwenImageEditPlusPipeline`."""
    ratio = min(max(image.width / image.height, 1 / MAX_SIDE_RATIO), MAX_SIDE_RATIO)
    width, height = published.calculate_dimensions(area, ratio)
    return image.resize((width, height), Image.Resampling.LANCZOS)
