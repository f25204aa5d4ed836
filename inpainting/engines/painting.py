"""Execute a plan: cut out the window, paint it with the engine, composite the result into the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from inpainting.core.adapter_uses import INSERT, SCALED_IMAGES
from inpainting.core.codecs import to_rgb8
from inpainting.core.compositing import composite, cut, cut_image
from inpainting.core.errors import EngineFailed
from inpainting.core.feathering import Feather
from inpainting.core.geometry import Box, Size, Window, plan_window
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.inserting import clone, covered_part, paste
from inpainting.core.masks import coverage, is_grey, nonempty_bounds
from inpainting.core.plausibility import plausibility_score
from inpainting.core.request import InpaintRequest
from inpainting.core.resizing import resize_pixels
from inpainting.core.sentences import sentence
from inpainting.core.settings_table import MAX_SEED, RANGES, PaintSettings
from inpainting.engines.base import Engine, OnStep, Plan, Step
from inpainting.engines.conditioning_images import compute_images
from inpainting.engines.inserting import clones, drawn_insert, starts_from_insert
from inpainting.engines.prefill import prefill
from inpainting.engines.tiles import fade_in, rows_of, tile_window
from inpainting.keepalive import run_in_thread

MAX_IMAGES = int(RANGES["num_images"][1])
NOTHING_TO_DO = sentence("A strength of 0 leaves the image as it is.")


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """One result and how it was made."""

    # The whole image, painted; where `mask` (the effective one, after grow) is 0 its pixels are the source's.
    image: CanonicalImage
    mask: Mask
    window: Window  # the part that the engine got, at `window.work`
    coverage: float  # share of the image that was repainted, 0 to 1
    # `seam_score`, `seam_score_plain`, `colour_matched`, `seam_blended`: see `compositing.Composite`.
    seam_score: float
    seam_score_plain: float
    colour_matched: bool
    seam_blended: bool
    # See `plausibility.plausibility_score`; None of an engine that paints what a prompt says, as that may well differ
    # from what lies around it.
    score: float | None = None
    notes: tuple[str, ...] = ()  # sentences for people about what differs from the request
    # Makes the image without the fading of `mask_blur` and of grey in the mask; None where nothing fades.
    make_unfaded: Callable[[], CanonicalImage] | None = None
    nsfw_content_detected: bool | None = None  # the safety checker's result, None where it has not run
    # How the image was hidden then, one of `settings_table.SAFETY_TYPES`, None where it was not.
    hidden_by: str | None = None
    unhidden: CanonicalImage | None = None  # the image as it was painted
    computed_by: str = ""  # see `Step`

    @property
    def work(self) -> Size:
        """The size at which the engine painted."""
        return self.window.work


def paint(plan: Plan, engine: Engine, on_step: OnStep) -> list[Painting]:
    """Return all results of `paint_each`."""
    return list(paint_each(plan, engine, on_step))


def paint_each(plan: Plan, engine: Engine, on_step: OnStep) -> Iterator[Painting]:
    """Return `settings.num_images` paintings of a plan, each composited when it is taken; its images are never changed.

    Where the mask is empty, or the engine reads `strength` and it is 0, nothing is painted: the window is not even
    scaled. The last step is reported again with each image that is composited.
    Raises EngineFailed if the engine returns a wrong number of images; EngineFailed and Cancelled from the engine
    propagate: from the call, or from the iteration where the engine makes its images one by one.
    """
    is_empty = not plan.mask.any()
    if is_empty or (plan.settings.strength == 0 and "strength" not in plan.ignored):
        notes = () if is_empty else (NOTHING_TO_DO,)
        on_step(Step(1, 1, box=plan.window.box, notes=notes))
        return iter([keep_unchanged(plan, notes)] * plan.settings.num_images)
    relay = StepRelay(plan.window.box, on_step)
    plan = add_computed_images(plan, relay)
    return composite_each(plan, engine_images(prefill(plan, relay), engine, relay), relay)


def add_computed_images(plan: Plan, relay: StepRelay) -> Plan:
    """Return the plan with the control images that were not sent and that a model computes."""
    if not plan.preprocessors:
        return plan
    images, notes = compute_images(plan, lambda: relay(Step(0, 0)))
    relay.notes.extend(notes)
    return replace(plan, images={**plan.images, **images})


def engine_images(plan: Plan, engine: Engine, relay: StepRelay) -> Iterable[NDArray[np.uint8]]:
    """Return the engine's images of the window, in one pass or in several, with the image that is cloned into them."""
    if clones(plan):
        return clone_into_each(plan, engine, relay)
    return painted_images(plan, engine, relay)


def clone_into_each(plan: Plan, engine: Engine, relay: StepRelay) -> Iterator[NDArray[np.uint8]]:
    """Yield the engine's images of the window with the image to insert cloned into them.

    One with transparent parts is put over them instead: its outline is an edge, which cloning would blur. Where another
    one covers all of the mask, the engine has nothing to paint.
    """
    image, mask = cut(plan.request.image, plan.mask, plan.window)
    drawn, merge = drawn_insert(plan), clone
    if plan.images[INSERT.image].has_alpha:
        images, merge = painted_images(plan, engine, relay), paste
    elif (covered_part(drawn, mask) == (mask > 0)).all():
        relay(Step(1, 1))
        images = [to_rgb8(image)] * plan.settings.num_images
    else:
        images = painted_images(plan, engine, relay)
    for painted in images:
        yield run_in_thread(partial(merge, painted, drawn, mask), relay.repeat)


def painted_images(plan: Plan, engine: Engine, relay: StepRelay) -> Iterable[NDArray[np.uint8]]:
    """Return the engine's images of the window, in one pass or in several."""
    if not plan.window.passes:
        return engine.inpaint(cut_out(plan), relay)
    in_parts = paint_in_tiles if plan.is_tiled else paint_in_passes
    images = (in_parts(plan, engine, index, relay) for index in range(plan.settings.num_images))
    return chain([next(images)], images)  # The first at once: a lack of memory is to be raised by the call.


def paint_in_passes(plan: Plan, engine: Engine, index: int, relay: StepRelay) -> NDArray[np.uint8]:
    """Return image `index` of the window: each pass paints its part of the mask beside what those before it painted."""
    image = CanonicalImage(to_rgb8(plan.request.image))
    images, count = plan.settings.num_images, len(plan.window.passes)
    for number, part in enumerate(plan.window.passes):
        mask = np.zeros_like(plan.mask)
        mask[part.slices] = np.where(plan.mask[part.slices] > 0, np.uint8(255), np.uint8(0))
        settings = replace(part_settings(plan, index, number), mask_blur=0)
        request = replace(plan.request, image=image, mask=mask, settings=settings)
        window = plan_window(nonempty_bounds(mask), image.size, plan.window_rule)
        pass_plan = replace(plan, request=request, settings=settings, mask=mask, window=window)
        follow = partial(relay.follow_pass, index * count + number, images * count, window.box)
        (painted,) = engine.inpaint(cut_out(pass_plan), follow)
        image = CanonicalImage(composite(image, mask, window, painted, blur=0).image.pixels)
    return to_rgb8(image)[plan.window.box.slices]


def paint_in_tiles(plan: Plan, engine: Engine, index: int, relay: StepRelay) -> NDArray[np.uint8]:
    """Return image `index` of the window: each tile is painted from the source alone, and fades into those before."""
    box, tiles, images = plan.window.box, plan.window.passes, plan.settings.num_images
    canvas = to_rgb8(plan.request.image)[box.slices].copy()
    number, above = 0, box.top
    for row in rows_of(tiles):
        rows = slice(row[0].top - box.top, row[0].bottom - box.top)
        strip, left = canvas[rows].copy(), box.left
        for tile in row:
            window = tile_window(tile, plan.window_rule)
            tile_plan = replace(plan, settings=part_settings(plan, index, number), window=window)
            follow = partial(relay.follow_pass, index * len(tiles) + number, images * len(tiles), tile)
            (painted,) = engine.inpaint(cut_out(tile_plan), follow)
            part = strip[:, tile.left - box.left : tile.right - box.left]
            pixels = resize_pixels(painted, tile.size)
            fade_in(part.swapaxes(0, 1), pixels.swapaxes(0, 1), max(0, left - tile.left))
            number, left = number + 1, tile.right
        fade_in(canvas[rows], strip, max(0, above - row[0].top))
        above = row[0].bottom
    return canvas


def part_settings(plan: Plan, index: int, number: int) -> PaintSettings:
    """Return the settings of one pass or tile of image `index`, each with a seed of its own.

    With the same seed, the noise would repeat itself from part to part.
    """
    seed = (plan.settings.seed + index + number * MAX_IMAGES) % MAX_SEED
    return replace(plan.settings, num_images=1, seed=seed)


def composite_each(plan: Plan, images: Iterable[NDArray[np.uint8]], relay: StepRelay) -> Iterator[Painting]:
    number = 0
    for image in images:
        yield composite_window(plan, image, relay)
        number += 1
    if number != (count := plan.settings.num_images):
        raise EngineFailed(
            sentence(
                "{name} should return {count} images, got {number}", name=plan.engine.name, count=count, number=number
            )
        )


def keep_unchanged(plan: Plan, notes: tuple[str, ...]) -> Painting:
    return Painting(
        image=plan.request.image,
        mask=plan.mask,
        window=plan.window,
        coverage=coverage(plan.mask),
        seam_score=0.0,
        seam_score_plain=0.0,
        colour_matched=False,
        seam_blended=False,
        notes=notes,
    )


def cut_out(plan: Plan) -> Plan:
    """Return the plan of the window alone, at `window.work`, with the conditioning images that are read.

    `include_shadow`, `mask_grow` and `mask_blur` are off: the mask is grown and, for a model that reads partial masks,
    faded already. Images of
    SCALED_IMAGES are cut as the source image is; the others are passed on whole. A model that starts from the image to
    insert gets it in the masked area, and as it lies in the window.
    """
    image, mask = cut(plan.request.image, faded_mask(plan), plan.window)
    images = {
        name: cut_image(conditioning_image, plan.window) if name in SCALED_IMAGES else conditioning_image
        for name, conditioning_image in plan.images.items()
    }
    if starts_from_insert(plan):
        images[INSERT.image] = drawn = drawn_insert(plan)
        image = CanonicalImage(paste(to_rgb8(image), drawn, mask))
    settings = replace(plan.settings, include_shadow=False, mask_grow=0, mask_blur=0)
    request = InpaintRequest(image, mask, settings, images)
    return replace(plan, request=request, settings=settings, mask=mask, images=images)


def faded_mask(plan: Plan) -> Mask:
    """Return the mask, for a model faded as compositing fades its image (differential diffusion, Levin and Fried 2023,
    arXiv 2306.00950); no pixel of it becomes 0."""
    if plan.settings.mask_blur == 0 or erases(plan):
        return plan.mask
    box, faded = plan.window.box, plan.mask.copy()
    weights = Feather(plan.mask, plan.settings.mask_blur, box).rows(0, box.size.height)
    np.copyto(faded[box.slices], np.maximum(np.rint(weights * 255), 1).astype(np.uint8), where=faded[box.slices] > 0)
    return faded


def erases(plan: Plan) -> bool:
    """Whether the engine reads no prompt: it removes what the mask marks."""
    return "prompt" in plan.engine.ignored_settings


def composite_window(plan: Plan, painted: NDArray[np.uint8], relay: StepRelay) -> Painting:
    """Return the source image with an engine's image of the window [height, width, 3] in it."""
    image, mask, window, blur = plan.request.image, plan.mask, plan.window, plan.settings.mask_blur
    done = run_in_thread(partial(composite, image, mask, window, painted, blur=blur), relay.repeat)
    relay.repeat()
    return Painting(
        image=done.image,
        mask=mask,
        window=window,
        coverage=coverage(mask),
        seam_score=done.seam_score,
        seam_score_plain=done.seam_score_plain,
        colour_matched=done.colour_matched,
        seam_blended=done.seam_blended,
        score=plausibility_score(done.image, mask) if erases(plan) else None,
        notes=tuple(relay.notes),
        make_unfaded=partial(composite_unfaded, image, mask, window, painted) if blur > 0 or is_grey(mask) else None,
        computed_by=relay.computed_by,
    )


class StepRelay:
    """Passes an engine's steps on, with the box that the window has in the image, and collects their notes."""

    def __init__(self, box: Box, on_step: OnStep) -> None:
        self.box = box
        self.on_step = on_step
        self.notes: list[str] = []
        self.computed_by = ""
        self.last: Step | None = None

    def __call__(self, step: Step) -> None:
        self.last = step
        self.computed_by = step.computed_by or self.computed_by
        self.notes.extend(note for note in step.notes if note not in self.notes)
        self.on_step(replace(step, box=step.box or self.box))

    def follow_pass(self, number: int, count: int, box: Box, step: Step) -> None:
        """Pass on a step of pass `number` of `count`, which paints `box`, as a step of all passes."""
        self(replace(step, done=number * step.of + step.done, of=count * step.of, box=box))

    def repeat(self) -> None:
        """Report the last step again, without its preview."""
        if self.last is not None:
            self.on_step(replace(self.last, preview=None, box=self.box))


def composite_unfaded(image: CanonicalImage, mask: Mask, window: Window, painted: NDArray[np.uint8]) -> CanonicalImage:
    """Return the image with an engine's image in it wherever the mask is above 0, without fading."""
    everywhere = np.where(mask > 0, np.uint8(255), np.uint8(0))
    return composite(image, everywhere, window, painted, blur=0).image
