"""Captions by BLIP. torch is imported with the first model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec

MAX_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Blip:
    def load(self, spec: ModelSpec, path: Path) -> Any:
        """The model and its processor. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        from transformers import AutoTokenizer, BlipProcessor
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

        from inpainting.networks.transformers_models import load_model, load_processor

        model = load_model(spec, path)
        images = load_processor(spec, BlipImageProcessorPil, path)
        return model, BlipProcessor(images, load_processor(spec, AutoTokenizer, path))

    def caption(self, loaded: Any, spec: ModelSpec, pixels: NDArray[np.uint8], beginning: str) -> str:
        """A sentence about RGB [height, width, 3] that begins with these words, by beam search: always the same."""
        from inpainting.networks.transformers_models import run_model

        model, processor = loaded
        inputs = processor(
            images=pixels, text=f"{beginning} of", return_tensors="pt", input_data_format="channels_last"
        )
        tokens = run_model(model, model.generate, **inputs, max_new_tokens=MAX_TOKENS, num_beams=3, do_sample=False)
        return str(processor.decode(tokens[0], skip_special_tokens=True)).strip()


BLIP = Blip()
