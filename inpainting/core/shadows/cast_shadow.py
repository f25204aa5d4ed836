"""Finds the shadow that an object casts on the ground.

A shadow darkens each channel by a smooth, nearly constant ratio, while the texture stays (Barnard and Finlayson 2000,
"Shadow identification using colour ratios"; Guo, Dai and Hoiem 2011, "Single-image shadow detection and removal using
paired regions"). The candidates are dark regions that begin at the object: connected components at many thresholds of
brightness, as in Matas et al. 2002, "Robust wide baseline stereo from maximally stable extremal regions". Each is
judged along its outline, where shaded and lit ground lie side by side (Lalonde, Efros and Narasimhan 2010, "Detecting
ground shadows in outdoor consumer photographs").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box
from inpainting.core.image import Mask
from inpainting.core.shadows.ground import Ground, disc, square
from inpainting.core.shadows.outlines import Outline, Ratios, deviation
from inpainting.core.shadows.views import View

THRESHOLDS = np.linspace(0.02, 0.85, 24)
"""Quantiles of the brightness of the ground."""
GROUND_FROM = 0.45
"""The ground lies below this share of the object's height."""
AREAS = 0.04, 1.6
"""Smallest and largest shadow, as shares of the object's area."""
OTHER_SIDE = 0.25
"""How far a shadow may reach beyond the object to the other side, as a share of how far it reaches to one."""
LOWEST_CONTACT, LOWEST_CONTACT_ASIDE = 0.6, 0.8
"""How far down the object the middle of the contact lies, as a share of its height: a shadow begins where it stands.
The second number is for a shadow that begins at the side of the object, not below it."""
SHARE_BELOW = 0.3
"""The share of the contact below parts of the object; with less the shadow begins at its side."""
MOST_CONTACT = 0.6
"""The share of the outline at the object; more is a rim of the object that the mask has missed."""
MOST_AT_BORDER = 0.12
"""The share of the outline at the border of the image."""
SHARE_OF_HULL = 0.42
"""The share of its convex hull that a shadow fills; a frame or a rail that begins at the object fills less."""
STRENGTHS = 0.1, 1.4
"""By how much a shadow darkens, as a natural logarithm: by a tenth, to a quarter."""
SPREAD, SPREAD_ASIDE = 0.4, 0.3
"""How far this may vary along the outline, as a share of it; the second is for a shadow at the side."""
SPREAD_INSIDE = 0.35
"""How far the brightness may vary within the shadow, likewise."""
DEEPER = 1.8
"""By how many times more the middle of a shadow is darkened than its outline, where the edge is soft."""
DARKER = 0.8
"""The share of the outline on which every channel is darker inside."""
TEXTURE = 0.9
"""By how much the contrast of the texture may differ inside and outside, as a natural logarithm."""
NOISE = 0.004
"""Added to both, so that a plain ground, of which there is only noise to compare, passes."""
REPEATED, REPEATED_ASIDE = 2.5, 1.0
"""How much of the free ground nearby may have the shadow's colour, in areas of the shadow; more is its own colour."""


STABLE_BETWEEN = 0.35, 0.65
"""Thresholds at which a shadow is nearly the same, as shares of the way from its brightness to that of the ground."""
OVERLAP = 0.55
"""The share of their union that two regions have in common that are nearly the same."""


@dataclass(frozen=True, slots=True, eq=False)
class CastShadow:
    mask: Mask  # 1 on the shadow and its soft edge, else 0; [height, width] of the view
    direction: NDArray[np.float64]  # x and y of the unit vector from the contact to the middle of the shadow


def find_cast_shadow(view: View) -> CastShadow | None:
    """Return the most convincing shadow of an object, or None."""
    ground = Ground.of(view)
    likely: list[tuple[float, Box, Mask, Outline]] = []
    for box, region, border in candidates(view, ground):
        part = ground.part(box)
        outline = Outline.of(region, part, border)
        if is_placed_as_shadow(outline, region, part) and (score := likelihood(outline, region, part)):
            likely.append((score, box, region, outline))
    stable = (each for each in sorted(likely, key=lambda each: -each[0]) if is_stable(each[1], each[2], ground))
    found = next(stable, None)
    if found is None:
        return None
    _, box, region, outline = found
    spread = round(1.5 * ground.edge)
    mask = np.zeros_like(view.marked)
    # Blades of grass and joints that are as dark as the shadow and hang together with it are thinner than it is.
    thinner = disc(max(1, int(0.25 * depth(region).max())))
    opened = cv2.morphologyEx(region, cv2.MORPH_OPEN, thinner)
    mask[box.slices] = cv2.dilate(largest_part(opened if opened.any() else region), disc(spread))
    y, x = np.nonzero(region)
    toward = np.array([x.mean(), y.mean()]) - outline.contact.mean(axis=0)
    return CastShadow(mask, toward / max(float(np.linalg.norm(toward)), 1e-6))


def candidates(view: View, ground: Ground) -> Iterator[tuple[Box, Mask, Mask]]:
    """Return dark regions that begin at the object: a box, 1 on the region in it, and 1 on the image's border in it."""
    height, width = view.marked.shape
    below = ground.brightness[view.bounds.top + round(GROUND_FROM * ground.height) :]
    values = below[ground.free[-len(below) :] > 0] if len(below) else below
    if not values.size:
        return
    border = np.zeros_like(view.marked)
    border[:, :2], border[:, -2:], border[-2:] = 1, 1, 1
    margin = round(0.5 * ground.side) + 8
    for threshold in np.unique(np.quantile(values, THRESHOLDS)):
        dark = ((ground.brightness < threshold) & (ground.free > 0)).astype(np.uint8)
        dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, square(1))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=4)
        contact = np.bincount(labels[ground.beside > 0], minlength=count)
        for label in np.flatnonzero(contact[1:] >= 4) + 1:
            left, top, across, down, area = (int(value) for value in stats[label])
            box = Box(left, top, left + across, top + down)
            if AREAS[0] * ground.area <= area <= AREAS[1] * ground.area and is_within_reach(box, view):
                box = box.expanded(margin).clipped(Box(0, 0, width, height))
                region = (labels[box.slices] == label).view(np.uint8)
                region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, square(1)) & ground.free[box.slices]
                yield box, region, border[box.slices]


def is_stable(box: Box, region: Mask, ground: Ground) -> bool:
    """Return whether nearly the same region is darker than other thresholds between it and the ground beside it."""
    part = ground.part(box)
    edge = round(part.edge)
    beside = (cv2.dilate(region, square(3 * edge)) & part.free & ~cv2.dilate(region, square(edge))) > 0
    if not beside.any():
        return False
    levels = (float(np.median(part.brightness[where])) for where in (region > 0, beside))
    dark, lit = levels
    for share in STABLE_BETWEEN:
        darker = ((part.brightness < dark + share * (lit - dark)) & (part.free > 0)).astype(np.uint8)
        _, labels = cv2.connectedComponents(cv2.morphologyEx(darker, cv2.MORPH_OPEN, square(1)), connectivity=4)
        label = int(np.bincount(labels[region > 0]).argmax())
        other = labels == label
        common = np.count_nonzero(other & (region > 0))
        if not label or common < OVERLAP * (np.count_nonzero(other) + np.count_nonzero(region) - common):
            return False
    return True


def is_within_reach(region: Box, view: View) -> bool:
    """Return whether a region is seen whole, lies no higher than the object and to one side of it or below it."""
    height, width = view.marked.shape
    ends = region.left > 0, region.right < width, region.bottom < height
    if region.top < view.bounds.top or not all(end or whole for end, whole in zip(ends, view.ends, strict=True)):
        return False
    beyond = sorted((max(0, view.bounds.left - region.left), max(0, region.right - view.bounds.right)))
    return beyond[0] <= OTHER_SIDE * beyond[1] + 0.1 * view.bounds.size.width


def is_placed_as_shadow(outline: Outline, region: Mask, ground: Ground) -> bool:
    """Return whether the region is broad enough, and begins where the object stands."""
    broad, contact = float(depth(region).max()), outline.contact
    if broad < max(2.5, 0.03 * ground.side) or len(contact) < max(5, 0.8 * broad):
        return False
    if outline.at_object.mean() > MOST_CONTACT or outline.at_border.mean() > MOST_AT_BORDER:
        return False
    lowest = LOWEST_CONTACT_ASIDE if is_aside(outline, ground) else LOWEST_CONTACT
    down = (float(np.median(contact[:, 1])) - ground.top) / ground.height
    return down >= lowest and outline.share_of_hull >= SHARE_OF_HULL


def is_aside(outline: Outline, ground: Ground) -> bool:
    """Return whether the region begins at the object's side rather than below it."""
    x, y = outline.contact.T
    return bool((ground.under[y, x] > 0).mean() < SHARE_BELOW)


def likelihood(outline: Outline, region: Mask, ground: Ground) -> float:
    """Return how convincing the region is as a shadow by its colours; 0 where it is none."""
    ratios = outline.ratios(region, ground)
    if ratios is None or not STRENGTHS[0] < ratios.strength < STRENGTHS[1] or not has_tint_of_shadow(ratios):
        return 0.0
    aside = is_aside(outline, ground)
    darker = float((ratios.each.max(axis=1) < -0.25 * ratios.strength).mean())
    if darker < DARKER or ratios.spread > (SPREAD_ASIDE if aside else SPREAD) or ratios.spread_outside > SPREAD:
        return 0.0
    if not keeps_texture(region, ground, ratios):
        return 0.0
    area = np.count_nonzero(region)
    if same_colour(region, ground, ratios) > area * (REPEATED_ASIDE if aside else REPEATED):
        return 0.0
    return darker * (1 - ratios.spread) * (1 - ratios.spread_outside) * float(area / ground.area) ** 0.3


def has_tint_of_shadow(ratios: Ratios) -> bool:
    """Return whether all channels are darkened nearly alike along the outline."""
    return is_grey(ratios.typical, ratios.on_leaves) and ratios.spread_of_tint <= 0.03 + 0.06 * ratios.strength


def is_grey(logarithms: NDArray[np.float32], on_leaves: bool) -> bool:
    """Return whether the ratios of RGB are nearly alike, and blue is not the darkest, as the sky lights shadows too.

    On leaves blue may be: they reflect little of it but in their white highlights, which a shadow takes away.
    """
    strength = -float(logarithms.mean())
    tint = logarithms + strength
    if on_leaves:
        return float(np.abs(tint).max()) <= 0.05 + 0.4 * strength
    return float(np.abs(tint).max()) <= 0.05 + 0.12 * strength and float(tint[2]) >= -0.03 - 0.05 * strength


def keeps_texture(region: Mask, ground: Ground, ratios: Ratios) -> bool:
    """Return whether the region is darkened evenly, as along its outline, and has the texture of the ground around."""
    inward, edge = depth(region), round(ground.edge)
    core = inward > min(ground.edge, 0.6 * float(inward.max()))
    ring = (cv2.dilate(region, square(4 * edge)) & ground.free & ~cv2.dilate(region, square(edge))) > 0
    if core.sum() < 12 or ring.sum() < 30:
        return False
    darkened = np.median(ground.colour[core], axis=0) - np.median(ground.colour[ring], axis=0)
    deepest = min(STRENGTHS[1], DEEPER * ratios.strength)
    if not is_grey(darkened, ratios.on_leaves) or not STRENGTHS[0] < -darkened.mean() < deepest:
        return False
    contrast = [float(deviation(ground.detail[where])) + NOISE for where in (core, ring)]
    if abs(float(np.log(contrast[0] / contrast[1]))) > TEXTURE:
        return False
    return float(deviation(ground.brightness[core])) <= SPREAD_INSIDE * ratios.strength


def same_colour(region: Mask, ground: Ground, ratios: Ratios) -> int:
    """Return how many free pixels around the region are as dark as it and of its colour."""
    edge = round(2 * ground.edge)
    away = (ground.free > 0) & (cv2.dilate(region, square(edge)) == 0)
    shade = np.median(ratios.inside, axis=0)
    away &= ground.brightness < float(shade.mean()) + 0.5 * ratios.strength
    red, green, blue = (ground.colour[away] - shade).T
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return int(np.count_nonzero(spread < 0.1 + 0.3 * ratios.strength))


def largest_part(region: Mask) -> Mask:
    """Return 1 on the largest connected part of a region, else 0."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region)
    return (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).view(np.uint8)


def depth(region: Mask) -> NDArray[np.float32]:
    """Return how far each pixel of a region lies from its edge, in pixels; the border of the array is one."""
    padded = cv2.copyMakeBorder(region, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1])
