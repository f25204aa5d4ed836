"""The image that a stack shows, flattened; and which steps were made on something that is not seen any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from inpainting.core import masks
from inpainting.core.errors import InvalidImage
from inpainting.core.geometry import Placement, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.masks import scale_mask
from inpainting.core.resizing import resize
from inpainting.core.stack import Layer, check_laid, lay, touches
from inpainting.engines.plan import with_shadow
from inpainting.generations.stacks import PhotoStack, PhotoStep, beginning, seen_keys
from inpainting.models import Generation
from inpainting.models.images import StoredImage


def stored_image(stack: PhotoStack) -> StoredImage | None:
    """The stored image that the stack shows as it is: a result, or the photo. None where it has to be flattened."""
    start, above = beginning(stack.steps)
    return None if above or canvas_of(stack, start) else start


def flatten(stack: PhotoStack) -> CanonicalImage:
    """The image that the stack shows, in the photo's mode, depth and profile.

    Pixels outside of the masks that are seen are the photo's.

    Raises FileNotFoundError where a file is gone, and InvalidRequest where a step does not fit what lies beneath it, or
    where they are too much to be laid over each other.
    """
    start, above = beginning(stack.steps)
    check_laid(step.generation.result_size for step in above)
    canvas = canvas_of(stack, start)
    shown = start.read() if canvas is None else photo_on(start.read(), canvas)
    for step in above:
        shown = lay(shown, layer_of(step))
    return shown


def canvas_of(stack: PhotoStack, start: StoredImage) -> Placement | None:
    """Where the photo lies on what is stored in its place, the canvas of an outpainting; None where it is stored."""
    generation = stack.steps[0].generation
    if start != generation.source or not generation.placement:
        return None
    return Placement.from_dict(generation.placement, Size(start.width, start.height))


def photo_on(canvas: CanonicalImage, placement: Placement) -> CanonicalImage:
    """The photo of an outpainting as it was sent: bit for bit, but where it was scaled to lie on the canvas."""
    photo = canvas.cropped(placement.box)
    return resize(photo, placement.source) if placement.is_scaled else photo


def layer_of(step: PhotoStep) -> Layer:
    """The layer of a step that has a result."""
    if step.result is None:
        raise ValueError(f"{step.generation} has no result {step.image}")
    generation, back = step.generation, step.painted_back
    source = generation.source.read()
    return Layer(
        source,
        step.result.read(),
        effective_mask(generation),
        blur=generation.paint_settings.mask_blur,
        painted_back=None if back is None else back.read_pixels(),
        placement=Placement.from_dict(generation.placement, source.size) if generation.placement else None,
    )


def effective_mask(generation: Generation) -> Mask:
    """The mask that was painted: the one that was sent, with its shadow where that was asked for, grown."""
    settings, mask = generation.paint_settings, generation.mask.read_pixels()
    if settings.include_shadow and not generation.placement:
        mask, _ = with_shadow(generation.to_request(references=dict.fromkeys(generation.references)), settings)
    return masks.grown_mask(mask, settings)


def made_on_hidden(stack: PhotoStack) -> frozenset[UUID]:
    """The generations whose masks touch a step that they were made on and that is hidden, painted back or replaced."""
    known = KnownMasks()
    try:
        outdated = [step for place, step in enumerate(stack.steps) if is_outdated(stack.steps, place, known)]
    except (FileNotFoundError, InvalidImage):  # a file was lost: the steps are shown without the marks
        return frozenset()
    return frozenset(step.generation.pk for step in outdated)


class KnownMasks:
    """The masks of the steps of a stack, each read once, although it is compared with those of many other steps.

    It keeps a bit for each pixel: a stack may have hundreds of steps.
    """

    def __init__(self) -> None:
        self._bits: dict[str, tuple[NDArray[np.uint8], int]] = {}

    def painted(self, step: PhotoStep) -> Mask:
        """Where a step painted: 255, also for greys."""
        return self._once(str(step.generation.pk), lambda: effective_mask(step.generation))

    def lost_part(self, step: PhotoStep) -> Mask:
        """Where a step that others were made on shows something else now: its mask, or what of it is painted back."""
        back = step.painted_back
        if step.is_hidden or back is None:
            return self.painted(step)
        return self._once(step.key, lambda: np.minimum(self.painted(step), back.read_pixels()))

    def _once(self, key: str, read: Callable[[], Mask]) -> Mask:
        if key not in self._bits:
            mask = read()
            self._bits[key] = np.packbits(mask > 0, axis=1), mask.shape[1]
        bits, width = self._bits[key]
        return np.unpackbits(bits, axis=1, count=width) * np.uint8(255)


def is_outdated(steps: Sequence[PhotoStep], place: int, known: KnownMasks) -> bool:
    step, beneath = steps[place], steps[:place]
    lost = set(step.made_on) - set(seen_keys(beneath))
    if not lost or step.result is None:
        return False
    former = {key.partition("/")[0] for key in lost}
    for position, other in enumerate(beneath):
        is_replacement = other.key not in step.made_on and str(other.generation.parent_id) in former
        if str(other.generation.pk) not in former and not is_replacement:
            continue
        if step.generation.enlarged_to is not None:
            return True
        if touches(known.painted(step), carried(known.lost_part(other), steps[position + 1 : place + 1])):
            return True
    return False


def carried(mask: Mask, steps: Sequence[PhotoStep]) -> Mask:
    """A mask of the image beneath these steps, in the image that the last of them was painted on."""
    for step in steps:
        if step.generation.placement:
            source = step.generation.source
            placement = Placement.from_dict(step.generation.placement, Size(source.width, source.height))
            canvas = np.zeros((source.height, source.width), np.uint8)
            canvas[placement.box.slices] = scale_mask(mask, placement.box.size)
            mask = canvas
        elif step.generation.enlarged_to is not None:
            mask = scale_mask(mask, step.generation.enlarged_to)
    return mask
