"""Loaded SAM and SAM 2 models and the embeddings of the images that were last used. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import Mask
from inpainting.core.sentences import sentence
from inpainting.networks.transformers_models import load_model, load_processor, run_model
from inpainting.segmenters.base import Candidate, Selection
from inpainting.segmenters.networks.fed_images import Embeddings, fed_size, is_ambiguous, mask_of, remove_padding

RGB = NDArray[np.uint8]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PromptableModel:
    """The common base of both: an embedding of the image, computed once, and a small decoder for each selection."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        self.label = spec.label
        self.model = load_model(spec, folder)
        self._embeddings = Embeddings()

    def outline(self, pixels: RGB, selections: Sequence[Selection], *, max_masks: int = 3) -> list[list[Candidate]]:
        """The masks of RGB [height, width, 3] for each selection, best rated first. Raises EngineFailed."""
        embedding, size = self._embeddings.of(pixels, self.embed), (pixels.shape[0], pixels.shape[1])
        return [self.decoded(embedding, selection, size, max_masks) for selection in selections]

    def decoded(self, embedding: Any, selection: Selection, size: tuple[int, int], max_masks: int) -> list[Candidate]:
        """The best masks of an image of that height and width, from its embedding."""
        output = run_model(
            self.model,
            self.model,
            image_embeddings=embedding,
            multimask_output=is_ambiguous(selection),
            **self.prompts(selection, size),
        )
        scores, logits = output.iou_scores[0, 0], output.pred_masks[0, 0]  # [masks], [masks, side, side]
        if not (torch.isfinite(scores).all() and torch.isfinite(logits).all()):
            raise EngineFailed(
                sentence("The model {label} returned values that are not finite.", label=self.label),
                code="model_produced_invalid_output",
            )
        return [
            Candidate(self.full_size(logits[index], size), min(1.0, max(0.0, float(scores[index]))))
            for index in scores.argsort(descending=True, stable=True)[:max_masks].tolist()
        ]

    def embed(self, pixels: RGB) -> Any:
        """The embedding of an image, on the CPU: the embeddings that are kept take no memory of a GPU."""
        return run_model(self.model, self.model.get_image_embeddings, pixel_values=self.tensor(pixels))

    def prompts(self, selection: Selection, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Points [1, 1, points, 2] with labels and the box [1, 1, 4], in pixels of the model's input."""
        across, down = self.scale(size)
        prompts = {}
        if selection.points:
            points = [[point.x * across, point.y * down] for point in selection.points]
            prompts["input_points"] = torch.tensor([[points]], dtype=torch.float32)
            prompts["input_labels"] = torch.tensor([[[int(point.is_object) for point in selection.points]]])
        if selection.box is not None:
            box = selection.box
            edges = [box.left * across, box.top * down, box.right * across, box.bottom * down]
            prompts["input_boxes"] = torch.tensor([[edges]], dtype=torch.float32)
        return prompts

    def tensor(self, pixels: RGB) -> torch.Tensor:
        """The model's input, [1, 3, side, side]."""
        raise NotImplementedError

    def scale(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels of the model's input for a pixel of an image of that height and width, across and down."""
        raise NotImplementedError

    def full_size(self, logits: torch.Tensor, size: tuple[int, int]) -> Mask:
        """The mask of that height and width from the logits [side, side] of the decoder."""
        raise NotImplementedError


class Sam(PromptableModel):
    """The image's longer side fills the input; the rest is padding."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.processor = load_processor(spec, SamImageProcessorPil, folder)

    def tensor(self, pixels: RGB) -> torch.Tensor:
        self.fed_size((pixels.shape[0], pixels.shape[1]))  # refuses images that are too thin
        return cast(
            torch.Tensor, self.processor(pixels, return_tensors="pt", input_data_format="channels_last").pixel_values
        )

    def fed_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width within the input."""
        return fed_size(*size, self.processor.size["longest_edge"])

    def scale(self, size: tuple[int, int]) -> tuple[float, float]:
        height, width = self.fed_size(size)
        return width / size[1], height / size[0]

    def full_size(self, logits: torch.Tensor, size: tuple[int, int]) -> Mask:
        return mask_of(remove_padding(logits.numpy(), self.processor.pad_size["height"], self.fed_size(size)), *size)


class Sam2(PromptableModel):
    """The image is stretched to the square input. transformers' own preprocessor needs torchvision."""

    def __init__(self, spec: ModelSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.side = int(self.model.config.prompt_encoder_config.image_size)

    def tensor(self, pixels: RGB) -> torch.Tensor:
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
        scaled = interpolate(image, (self.side, self.side), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (scaled - mean) / std

    def scale(self, size: tuple[int, int]) -> tuple[float, float]:
        return self.side / size[1], self.side / size[0]

    def full_size(self, logits: torch.Tensor, size: tuple[int, int]) -> Mask:
        return mask_of(logits.numpy(), *size)
