"""What a plan says of diffusion models that were not trained to fill a mask: at full strength they see little of it."""

from __future__ import annotations

from collections.abc import Iterator

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats import checkpoint_file
from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.sentences import sentence
from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import DEFAULT_STRENGTH
from inpainting.engines.base import Resolution
from inpainting.families.layouts import DiffusersLayout

NOTHING_KEPT = sentence("Nothing of the image is kept, so there are no surroundings to follow.")


def is_trained_to_fill(model: ModelSpec) -> bool:
    """Whether a diffusion model takes the mask and the kept part of the image: by its family, or by its UNet.

    A process that cannot read the model's files goes by its default strength, which was set from them.
    """
    family = families.get(model.family)
    has_unet = isinstance(family.layout, DiffusersLayout) and "unet" in family.layout.components
    if family.fills or not has_unet:
        return family.fills
    try:
        if model.path is not None and model.path.exists():
            return checkpoint_file.is_trained_to_fill(model.path)
    except (OSError, ModelRefused):
        pass  # damaged files are an error when the model is loaded
    return model.strength > DEFAULT_STRENGTH


def surroundings_notes(resolution: Resolution) -> Iterator[str]:
    """Yield a sentence for people where a model paints from noise alone and sees what surrounds it only by re-noising.

    Models that edit take the image itself, and a ControlNet for inpainting sees it too.
    """
    model, settings = resolution.model, resolution.settings
    if model is None or settings.strength != 1 or settings.lanpaint_steps:
        return
    family = families.get(model.family)
    if family.engine != DIFFUSION or family.edits or ControlImageKind.INPAINT in resolution.controls:
        return
    if not is_trained_to_fill(model):
        yield sentence(
            "{model} was not trained to fill a mask: at a denoising_strength of 1 it hardly follows what is"
            " around the mask. Lower the strength, set lanpaint_steps, or choose a model that is trained to fill.",
            model=model.label,
        )
