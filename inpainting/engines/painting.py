"""One request, painted: window, engine, compositing. Every surface and every engine goes through here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inpainting.core.compositing import composite, cut, cut_picture
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Size, Window, plan_window
from inpainting.core.masks import check, coverage, effective_mask, is_grey, nonempty_bounds
from inpainting.core.picture import Mask, Picture
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Engine, OnStep, Step
from inpainting.engines.references import checked_references

NOTHING_TO_DO = "A strength of 0 leaves the picture as it is."


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """One result and how it came about.

    picture: the whole image, painted; where `mask` (the effective one, after grow) is 0 its pixels are the request's.
    window: what the engine saw, at `window.work`. coverage: share of the image that was repainted, 0 to 1.
    seam_score, seam_score_plain, colour_matched, seam_blended: see `compositing.Composite`.
    warnings: about the request, and notes: about what ran otherwise than asked; sentences for people.
    in_full: makes the picture as if neither grey in the mask nor `mask_blur` faded it; None where neither does.
    nsfw_content_detected: what the safety checker said, None where none has looked. hidden_by: what was done with the
    picture then, one of `settings_table.SAFETY_TYPES`, None where nothing was; unhidden: the picture as it was painted.
    computed_by: see `Step`.
    """

    picture: Picture
    mask: Mask
    window: Window
    coverage: float
    seam_score: float
    seam_score_plain: float
    colour_matched: bool
    seam_blended: bool
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    in_full: Callable[[], Picture] | None = None
    nsfw_content_detected: bool | None = None
    hidden_by: str | None = None
    unhidden: Picture | None = None
    computed_by: str = ""

    @property
    def work(self) -> Size:
        """The size at which the engine painted."""
        return self.window.work


def checked_mask(request: InpaintRequest, engine: Engine) -> tuple[Mask, tuple[str, ...]]:
    """The mask that is painted, and warnings about it. Surfaces ask before they accept, `paint` before it paints.

    Raises InvalidRequest: `mask_empty`, or `mask_full` where the engine needs something that is kept.
    """
    mask = effective_mask(request.mask, request.settings)
    warnings = check(mask)
    if engine.needs_surroundings and mask.all():
        raise InvalidRequest(
            f"The mask covers the whole picture, and {engine.name} paints from what is kept. "
            "If the mask is meant the other way round, invert it or say so with mask_polarity.",
            code="mask_full",
            field="mask",
        )
    return mask, warnings


def paint(request: InpaintRequest, engine: Engine, on_step: OnStep) -> list[Painting]:
    """`settings.num_images` paintings of the request; the request itself is never changed.

    The engine gets the window alone, with `mask_grow` and `mask_blur` of 0: the first is done, the second comes after.
    The control image is cut as the picture is; what an IP-Adapter looks at is passed on whole.
    Raises InvalidRequest for what `checked_mask` and `checked_references` refuse, EngineFailed when the engine gives
    something else than it was asked for, and lets EngineFailed and Cancelled from the engine pass. The last step is
    told again with each picture that is put together. Where the engine reads `strength` and it is 0 nothing is painted:
    the window is not even scaled.
    """
    settings, image = request.settings, request.image
    mask, warnings = checked_mask(request, engine)
    request, unread = checked_references(request, engine)
    guide = request.control_image
    window = plan_window(nonempty_bounds(mask), image.size, engine.window(settings))
    if settings.strength == 0 and "strength" not in engine.ignores:
        on_step(Step(1, 1, box=window.box, notes=(NOTHING_TO_DO,)))
        left = Painting(
            picture=image,
            mask=mask,
            window=window,
            coverage=coverage(mask),
            seam_score=0.0,
            seam_score_plain=0.0,
            colour_matched=False,
            seam_blended=False,
            warnings=(*warnings, *unread),
            notes=(NOTHING_TO_DO,),
        )
        return [left] * settings.num_images
    part, part_mask = cut(image, mask, window)
    seen = InpaintRequest(
        part,
        part_mask,
        replace(settings, mask_grow=0, mask_blur=0),
        control_image=None if guide is None else cut_picture(guide, window),
        ip_adapter_image=request.ip_adapter_image,
    )
    # What an engine shows of its unfinished work is the window: it knows nothing of the rest.
    notes: list[str] = []
    last: Step | None = None
    computed_by = ""

    def pass_on(step: Step) -> None:
        nonlocal last, computed_by
        last, computed_by = step, step.computed_by or computed_by
        notes.extend(note for note in step.notes if note not in notes)
        on_step(replace(step, box=window.box))

    pictures = engine.inpaint(seen, pass_on)
    if len(pictures) != settings.num_images:
        raise EngineFailed(f"asked {engine.name} for {settings.num_images} pictures, got {len(pictures)}")
    share, is_faded = coverage(mask), settings.mask_blur > 0 or is_grey(mask)
    paintings = []
    for picture in pictures:
        done = composite(image, mask, window, picture, blur=settings.mask_blur)
        if last is not None:  # seconds have passed where the image is large, and whoever listens may want to stop us
            on_step(replace(last, preview=None, box=window.box))
        paintings.append(
            Painting(
                picture=done.picture,
                mask=mask,
                window=window,
                coverage=share,
                seam_score=done.seam_score,
                seam_score_plain=done.seam_score_plain,
                colour_matched=done.colour_matched,
                seam_blended=done.seam_blended,
                warnings=(*warnings, *unread),
                notes=tuple(notes),
                in_full=partial(painted_in_full, image, mask, window, picture) if is_faded else None,
                computed_by=computed_by,
            )
        )
    return paintings


def painted_in_full(image: Picture, mask: Mask, window: Window, picture: NDArray[np.uint8]) -> Picture:
    """The image with an engine's picture in it wherever the mask marks something, be it ever so faintly."""
    everywhere = np.where(mask > 0, np.uint8(255), np.uint8(0))
    return composite(image, everywhere, window, picture, blur=0).picture
