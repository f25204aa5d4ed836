"""Loads and runs models in transformers' layout. Imports torch and transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from accelerate.utils import send_to_device

from inpainting import families
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.families.layouts import TransformersLayout
from inpainting.networks.device.choice import current_device
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.device.memory import CPU
from inpainting.networks.load_lock import serialize
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable

transformers.utils.logging.disable_progress_bar()


@serialize
def load_model(spec: ModelSpec, folder: Path) -> Any:
    """The model, in float32, on the current device.

    Raises EngineFailed, `model_refused` or `model_unavailable`, also where a weight is missing. Out-of-memory
    errors pass unchanged.
    """
    check_model(folder, spec.family)
    layout = cast(TransformersLayout, families.get(spec.family).layout)
    with loading(spec):
        model, info = getattr(transformers, layout.model_class).from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    missing = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])
    if missing:
        raise EngineFailed(
            sentence("The model {label} lacks {missing}.", label=spec.label, missing=missing[0]),
            code="model_unavailable",
        )
    hardware = Hardware(torch.device(current_device()), torch.float32)
    with hardware.copying():
        return model.eval().to(hardware.device)


def run_model(model: Any, compute: Callable[..., Any], **inputs: Any) -> Any:
    """What `compute`, the model or one of its methods, returns for these inputs, without gradients.

    The tensors among the inputs are moved to the model's device, those of the result to the CPU.
    """
    with torch.inference_mode():
        return send_to_device(compute(**send_to_device(inputs, model.device)), CPU)


def load_processor(spec: ModelSpec, processor_class: Any, folder: Path) -> Any:
    """The image processor or tokenizer in the model's folder. Raises EngineFailed, `model_unavailable`."""
    with loading(spec):
        return processor_class.from_pretrained(folder, local_files_only=True)


@contextmanager
def loading(spec: ModelSpec) -> Iterator[None]:
    """Translate the errors of transformers about missing, damaged and unsuitable files.

    Out-of-memory errors pass unchanged.
    """
    try:
        yield
    except READ_ERRORS as error:
        raise unreadable(
            sentence("The model {label}", label=spec.label), spec.path, error, "model_unavailable"
        ) from error
