"""Selects an object with GrabCut (Rother, Kolmogorov, Blake 2004), on a reduced window around it.

A box or an outline is the first guess of the object. From points alone `walker` makes the first guess, one for each of
three sizes, and GrabCut moves its edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.resizing import resize_pixels
from inpainting.core.sentences import sentence
from inpainting.segmenters import geodesic, walker
from inpainting.segmenters.base import Candidate, Hint, Point, Selection, box_around

WORKING_SIDE = 448
"""Longer side of what GrabCut gets. With the iterations below it takes 0.1 to 3 s, of any image."""
ITERATIONS = 4
MARGIN = 0.3
"""Of the object's longer side, around it: where GrabCut learns the colours of the background."""
POINT_RADIUS = 3
BAND = 12
"""How far GrabCut may move the edge of a guess from points, in pixels of what it gets."""
GUESS_ERROR = 4
"""How far the edge of such a guess may be from the object's, in pixels of the guess."""
RADII = (0.2, 0.12, 0.45)
"""Of the guesses, in shares of the longer side; the first one fits most objects of photos."""
ELLIPSE = 1.2
"""Square of the radius of the ellipse in a box in which GrabCut looks for the object first; 1 touches the sides."""
SAME = 0.95
"""Overlap from which on two candidates are one."""

RGB = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Model = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class GrabCut:
    name = "grabcut"
    label = "GrabCut"
    reads = needs = frozenset({Hint.POINTS, Hint.BOX, Hint.OUTLINE})

    def segment(self, image: CanonicalImage, selection: Selection) -> Mask:
        return self.masks(image, selection, RADII[:1])[0]

    def candidates(self, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        """From one point: the object, a smaller and a larger one, where they differ. They are not rated."""
        found: list[Mask] = []
        for mask in self.masks(image, selection, RADII if len(selection.points) == 1 else RADII[:1]):
            if not any(is_same(mask, other) for other in found):
                found.append(mask)
        return [Candidate(mask) for mask in found]

    def masks(self, canonical: CanonicalImage, selection: Selection, radii: Sequence[float]) -> list[Mask]:
        image, bounds = to_rgb8(canonical), Box.whole(canonical.size)
        guesses: list[tuple[tuple[Mask, float] | None, Box]]
        if selection.outline:
            guesses = [(None, bounds_of(selection.outline, bounds))]
        elif selection.box is not None:
            guesses = [(None, selection.box)]
        else:
            guesses = guesses_from(image, selection, radii)
        return [mask_from(image, guess, box, selection) for guess, box in guesses]


def mask_from(image: RGB, guess: tuple[Mask, float] | None, box: Box, selection: Selection) -> Mask:
    """The mask of the image from a guess with its bounds, or from a box."""
    bounds = Box(0, 0, image.shape[1], image.shape[0])
    for point in selection.objects:
        box = box.union(pixel_of(point, bounds))
    window = box.expanded(math.ceil(MARGIN * box.size.longer) + 2 * POINT_RADIUS).clipped(bounds)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[window.slices] = cut(image[window.slices], window, box, guess, selection)
    return mask


def is_same(plane: Mask, other: Mask) -> bool:
    either = np.count_nonzero(plane | other)
    return bool(np.count_nonzero(plane & other) >= SAME * either)


def create() -> GrabCut:
    return GrabCut()


def cut(pixels: RGB, window: Box, box: Box, guess: tuple[Mask, float] | None, selection: Selection) -> Mask:
    """The mask of a window of the image. guess: the whole image's, at a scale; None: the outline or the box."""
    scale = min(1.0, WORKING_SIDE / window.size.longer)
    small = resize_pixels(pixels, scaled_size(window.size, scale))
    height, width = small.shape[:2]
    if selection.outline:
        labels = labels_of_outline(selection.outline, window, scale, Size(width, height))
    elif guess is None:
        labels = labels_of_box(box.relative_to(window), scale, Size(width, height))
    else:
        region = part_of(guess, window, Size(width, height))
        labels = np.where(region > 0, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
        band = disc(max(BAND, math.ceil(GUESS_ERROR * scale / guess[1])))
        labels[cv2.erode(region, band) > 0] = cv2.GC_FGD
        labels[cv2.dilate(region, band) == 0] = cv2.GC_BGD
    seeds = []
    for point in selection.points:
        x = min(max(int((point.x - window.left) * scale), 0), width - 1)
        y = min(max(int((point.y - window.top) * scale), 0), height - 1)
        cv2.circle(labels, (x, y), POINT_RADIUS, cv2.GC_FGD if point.is_object else cv2.GC_BGD, -1)
        if point.is_object:
            seeds.append((x, y))
    found = grab_cut(small, labels, ITERATIONS if guess is None else 1)
    if seeds:
        found = geodesic.keep_connected(found, seeds)
    enlarged = cv2.resize(found, (window.size.width, window.size.height), interpolation=cv2.INTER_LINEAR)
    return np.where(enlarged > 127, np.uint8(255), np.uint8(0))


def labels_of_box(box: Box, scale: float, size: Size) -> Mask:
    """Certainly not the object outside of the box, probably not in its corners: cv2.GC_…, of that size."""
    labels = np.full((size.height, size.width), cv2.GC_BGD, np.uint8)
    left, top = math.floor(box.left * scale), math.floor(box.top * scale)
    inside = labels[top : math.ceil(box.bottom * scale), left : math.ceil(box.right * scale)]
    down, across = (np.linspace(-1, 1, count) for count in inside.shape)
    in_ellipse = across**2 + down[:, np.newaxis] ** 2 <= ELLIPSE
    inside[:] = np.where(in_ellipse, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    return labels


def labels_of_outline(corners: Sequence[tuple[float, float]], window: Box, scale: float, size: Size) -> Mask:
    """Probably the object inside the outline, certainly not outside of it: cv2.GC_…, of that size."""
    ring = np.clip((np.array(corners) - (window.left, window.top)) * scale, -32_000, 32_000)  # for fillPoly
    labels = np.full((size.height, size.width), cv2.GC_BGD, np.uint8)
    cv2.fillPoly(labels, [np.rint(ring).astype(np.int32)], cv2.GC_PR_FGD)
    return labels


def bounds_of(corners: Sequence[tuple[float, float]], image: Box) -> Box:
    """The pixels that an outline touches. Raises InvalidRequest, `field_out_of_range`, for one outside the image."""
    (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
    try:
        return box_around(left, top, max(right, left + 1), max(bottom, top + 1)).clipped(image)
    except InvalidRequest as error:
        message = sentence("outline lies outside the image, which is {size}.", size=image.size)
        raise InvalidRequest(message, code="field_out_of_range", field="outline") from error


def grab_cut(pixels: RGB, labels: Mask, iterations: int) -> Mask:
    """255 for the object. labels: cv2.GC_…; without a pixel of either kind there is nothing to tell apart."""
    is_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if is_object.any() and not is_object.all():
        cv2.setRNGSeed(0)  # of this thread; k-means starts at random colours
        models = np.zeros((1, 65)), np.zeros((1, 65))
        pixels = np.ascontiguousarray(pixels)
        if iterations > 1:
            cv2.grabCut(pixels, labels, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
        else:
            learn_colours(pixels, labels, models)
            cv2.grabCut(pixels, labels, None, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
        is_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return np.where(is_object, np.uint8(255), np.uint8(0))


def learn_colours(pixels: RGB, labels: Mask, models: tuple[Model, Model]) -> None:
    """Learn the models of the background and of the object from every other row and column, where both have pixels."""
    sparse = pixels[::2, ::2], labels[::2, ::2]
    is_object = (sparse[1] == cv2.GC_FGD) | (sparse[1] == cv2.GC_PR_FGD)
    taken = sparse if is_object.any() and not is_object.all() else (pixels, labels)
    colours, kinds = (np.ascontiguousarray(plane) for plane in taken)
    cv2.grabCut(colours, kinds, None, *models, 0, cv2.GC_INIT_WITH_MASK)  # no iteration: it learns alone


def guesses_from(
    image: RGB, selection: Selection, radii: Sequence[float]
) -> list[tuple[tuple[Mask, float] | None, Box]]:
    """First guesses of an object from its points, one for each radius: at a scale of the image, with bounds in it."""
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(width, height))
    small = resize_pixels(image, scaled_size(Size(width, height), scale))

    def pixel(point: Point) -> tuple[int, int]:
        return min(int(point.x * scale), small.shape[1] - 1), min(int(point.y * scale), small.shape[0] - 1)

    objects = [pixel(point) for point in selection.objects]
    others = [pixel(point) for point in selection.points if not point.is_object]
    regions = walker.select(small, objects, others, radii)
    return [
        ((region, scale), bounds_of_guess(region, scale, objects[0]).clipped(Box(0, 0, width, height)))
        for region in regions
    ]


def bounds_of_guess(region: Mask, scale: float, point: tuple[int, int]) -> Box:
    """In the image; around a point of the object where the guess is empty, since the object has a few pixels only."""
    left, top, width, height = cv2.boundingRect(region)
    if not width:
        (left, top), width, height = point, 1, 1
    edges = left - GUESS_ERROR, top - GUESS_ERROR, left + width + GUESS_ERROR, top + height + GUESS_ERROR
    floored, ceiled = [math.trunc(edge / scale) for edge in edges[:2]], [math.ceil(edge / scale) for edge in edges[2:]]
    return Box(*floored, *ceiled)


def part_of(guess: tuple[Mask, float], window: Box, size: Size) -> Mask:
    """A window of the image from a mask of the whole image at a scale: 0 or 255, of that size."""
    region, scale = guess
    across = np.linspace(window.left * scale, window.right * scale, size.width, endpoint=False, dtype=np.float32)
    down = np.linspace(window.top * scale, window.bottom * scale, size.height, endpoint=False, dtype=np.float32)
    taken = cv2.remap(region, *np.meshgrid(across, down), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(taken > 127, np.uint8(255), np.uint8(0))


def pixel_of(point: Point, image: Box) -> Box:
    x, y = min(int(point.x), image.right - 1), min(int(point.y), image.bottom - 1)
    return Box(x, y, x + 1, y + 1)


def scaled_size(size: Size, scale: float) -> Size:
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def disc(radius: int) -> Mask:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
