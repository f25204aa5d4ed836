"""Loads models in transformers' layout on the CPU. Imports torch and transformers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import transformers

from inpainting.catalog import families
from inpainting.catalog.families import TransformersLayout
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.load_lock import serialize

logger = logging.getLogger(__name__)
transformers.utils.logging.disable_progress_bar()


@serialize
def load_model(spec: ModelSpec, folder: Path) -> Any:
    """The model, in float32. Raises EngineFailed, `model_refused` or `model_unavailable`, also where a weight lacks."""
    check_model(folder, spec.family)
    layout = cast(TransformersLayout, families.get(spec.family).layout)
    with loading(spec):
        model, info = getattr(transformers, layout.model_class).from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    missing = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])
    if missing:
        raise EngineFailed(f"The model {spec.label} lacks {missing[0]}.", code="model_unavailable")
    return model.eval()


def load_processor(spec: ModelSpec, processor_class: Any, folder: Path) -> Any:
    """The image processor or tokenizer in the model's folder. Raises EngineFailed, `model_unavailable`."""
    with loading(spec):
        return processor_class.from_pretrained(folder, local_files_only=True)


@contextmanager
def loading(spec: ModelSpec) -> Iterator[None]:
    """Translate the errors of transformers about missing, damaged and unsuitable files."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        logger.exception("%s cannot be loaded", spec.slug)
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise EngineFailed(f"The model {spec.label} cannot be loaded: {reason}", code="model_unavailable") from error
