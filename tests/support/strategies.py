"""Hypothesis strategies for images and masks: every mode and bit depth, and unusual masks."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from inpainting.core.geometry import Box, Size, WindowRule
from inpainting.core.image import CanonicalImage, Mask, Pixels

SEEDS = st.integers(0, 2**32 - 1)
PROFILES = {"default": 25, "full": 300}
"""The most examples of a test; `pytest --hypothesis-profile=full` takes the second."""


def load_profiles() -> None:
    """Register the profiles, based on Hypothesis' default, which depends on the variable CI."""
    for name, most in PROFILES.items():
        settings.register_profile(name, parent=settings.default, max_examples=most)
    settings.load_profile("default")


def examples(number: int) -> int:
    """The examples of one test: `number`, and never more than the profile allows."""
    return min(number, settings().max_examples)


def sizes(longest: int = 80) -> st.SearchStrategy[Size]:
    return st.builds(Size, st.integers(1, longest), st.integers(1, longest))


@st.composite
def images(draw: st.DrawFn, size: Size) -> CanonicalImage:
    """Noise, or noise of extreme values only, in L, LA, RGB or RGBA of 8 or 16 bits; sometimes with an ICC profile."""
    deep = draw(st.booleans())
    most = 65535 if deep else 255
    shape = (size.height, size.width, draw(st.integers(1, 4)))
    values = np.random.default_rng(draw(SEEDS)).integers(0, most, shape, endpoint=True)
    if draw(st.booleans()):
        values = (values > most // 2) * most
    pixels: Pixels = values.astype(np.uint16) if deep else values.astype(np.uint8)
    if shape[2] in (2, 4):
        alpha = draw(st.sampled_from(["noise", "opaque", "transparent"]))
        if alpha != "noise":
            pixels[:, :, -1] = most if alpha == "opaque" else 0
    return CanonicalImage(pixels, draw(st.sampled_from([None, b"profile"])))


@st.composite
def masks(draw: st.DrawFn, size: Size) -> Mask:
    """A mask that marks at least one pixel: a pixel, a border, islands, greys, a blob, everything."""
    rng = np.random.default_rng(draw(SEEDS))
    height, width = size.height, size.width
    mask = np.zeros((height, width), np.uint8)
    match draw(st.sampled_from(["pixel", "border", "islands", "grey", "blot", "full"])):
        case "border":
            mask[:, : draw(st.integers(1, width))] = 255
        case "islands":
            mask[rng.random(mask.shape) < 0.2] = 255
        case "grey":
            mask[:] = rng.integers(0, 256, mask.shape, np.uint8)
        case "blot":
            y, x = np.mgrid[:height, :width]
            radius = draw(st.integers(1, 40))
            mask[(y - rng.integers(height)) ** 2 + (x - rng.integers(width)) ** 2 <= radius**2] = 255
        case "full":
            mask[:] = 255
    mask[rng.integers(height), rng.integers(width)] = 255
    return mask


@st.composite
def boxes_in(draw: st.DrawFn, size: Size) -> Box:
    left, top = draw(st.integers(0, size.width - 1)), draw(st.integers(0, size.height - 1))
    return Box(left, top, draw(st.integers(left + 1, size.width)), draw(st.integers(top + 1, size.height)))


@st.composite
def window_rules(draw: st.DrawFn, longest: int = 128) -> WindowRule:
    """Satisfiable window rules; a limited working size is at most `longest`."""
    multiple = draw(st.sampled_from([1, 2, 8, 16, 64]))
    least = draw(st.integers(1, longest // multiple)) * multiple
    most = draw(st.none() | st.integers(least, longest))
    return WindowRule(
        context=draw(st.floats(0, 2)),
        min_context=draw(st.integers(0, 40)),
        min_side=draw(st.sampled_from([1, least])),
        max_side=most,
        multiple=multiple,
        max_upscaling=draw(st.sampled_from([1.0, 1.5, 4.0])),
    )
