"""Networks that find the main object of an image: U²-Net, IS-Net, BiRefNet, as rembg publishes and feeds them.

Source of sizes, normalisation and the scaling of the output: rembg (MIT), rembg/sessions; of the normalisation for
garments: the network's own infer.py (github.com/levindabhi/cloth-segmentation).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.sentences import sentence
from inpainting.segmenters.base import Candidate, Hint, Selection

RGB = tuple[float, float, float]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CATEGORIES = ("upper", "lower", "full")
"""Of garments, in the order of the network's channels after the background: above the waist, below it, dresses."""


@dataclass(frozen=True, slots=True)
class SalientObjects:
    """How images are fed to the networks of one family.

    side: of the square that the image is scaled to, in pixels. mean, std: of the normalisation, after a division by
    the largest value of the image. gives_logits: the output is taken through a sigmoid. categories: names of the
    channels of the output after the background; without them the output has one channel.
    """

    side: int
    mean: RGB
    std: RGB
    gives_logits: bool = False
    categories: tuple[str, ...] = ()
    needs: frozenset[Hint] = field(default=frozenset(), init=False)

    @property
    def reads(self) -> frozenset[Hint]:
        return frozenset({Hint.CATEGORY} if self.categories else ())

    def load(self, spec: ModelSpec, path: Path) -> Any:
        """The onnxruntime session. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from inpainting.networks.onnx_sessions import load_session

        return load_session(spec, path)

    def candidates(self, session: Any, spec: ModelSpec, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        """One soft mask. Raises InvalidRequest for an unknown category, and EngineFailed."""
        from inpainting.networks.onnx_sessions import run_session

        channel = self.channel(selection.category)
        node = session.get_inputs()[0]
        side = node.shape[-1] if isinstance(node.shape[-1], int) else self.side
        output = run_session(session, spec.label, {node.name: self.tensor(image, side)})
        if output.ndim != 4 or output.shape[1] <= len(self.categories) or not np.isfinite(output).all():
            raise EngineFailed(
                sentence(
                    "The model {label} returned {shape} {dtype}, or values that are not finite.",
                    label=spec.label,
                    shape=output.shape,
                    dtype=output.dtype,
                ),
                code="model_produced_invalid_output",
            )
        share = self.share(output[0], channel)
        small = Image.fromarray((share * 255).clip(0, 255).astype(np.uint8))
        size = image.size.width, image.size.height
        return [Candidate(cast(Mask, np.asarray(small.resize(size, Image.Resampling.LANCZOS))))]

    def channel(self, category: str) -> int:
        """The channel of the output; 0 without a category. Raises InvalidRequest for an unknown category."""
        if not self.categories or not category:
            return 0
        if category not in self.categories:
            raise InvalidRequest(
                sentence(
                    "There is no category “{category}”; the categories are: {names}.",
                    category=category[:60],
                    names=", ".join(self.categories),
                ),
                field="category",
                actual=category[:60],
            )
        return 1 + self.categories.index(category)

    def tensor(self, canonical: CanonicalImage, side: int) -> NDArray[np.float32]:
        """[1, 3, side, side], without alpha."""
        image = Image.fromarray(to_rgb8(canonical)).resize((side, side), Image.Resampling.LANCZOS)
        pixels = np.asarray(image, np.float64)
        pixels = (pixels / max(pixels.max(), 1e-6) - self.mean) / self.std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)

    def share(self, output: NDArray[Any], channel: int) -> NDArray[Any]:
        """[height, width] of 0 to 1: of categories where the channel is the highest, else the output over its range.

        Channel 0 of categories is the background; it stands for everything else. rembg scales the numbers of the
        categories up to the image, so that between two of them lie lines of a third.
        """
        if self.categories:
            highest = output.argmax(axis=0)
            return (highest == channel if channel else highest > 0).astype(np.float32)
        values = 1 / (1 + np.exp(-output[channel])) if self.gives_logits else output[channel]
        low, high = values.min(), values.max()
        return np.zeros_like(values) if high == low else (values - low) / (high - low)


U2NET = SalientObjects(320, IMAGENET_MEAN, IMAGENET_STD)
CLOTHES = SalientObjects(768, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), categories=CATEGORIES)
"""rembg normalises with the numbers of ImageNet; then the network also takes hair and hands for garments."""
ISNET = SalientObjects(1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
ISNET_ANIME = SalientObjects(1024, IMAGENET_MEAN, (1.0, 1.0, 1.0))
BIREFNET = SalientObjects(1024, IMAGENET_MEAN, IMAGENET_STD, gives_logits=True)
