"""Enlarging tile by tile: the tiles equal the whole, and all that an image has is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from skimage import data

from inpainting.core.errors import Cancelled, EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Pixels
from inpainting.upscalers.base import OnWait, Tile, Tiling
from inpainting.upscalers.enlarging import COLOUR_SPREAD, Enlargement
from inpainting.upscalers.lanczos import Lanczos

SIZES = [Size(108, 78), Size(144, 104), Size(288, 208), Size(270, 52), Size(72, 52)]


@dataclass
class Repeating:
    """Stands for a network of that scale: repeats pixels, and blurs so that it sees its margin."""

    tiling: Tiling
    name: str = "repeating"
    label: str = "Repeating"
    seen: tuple[int, ...] = ()

    def enlarge(self, tile: Tile, on_wait: OnWait) -> Tile:
        on_wait()
        self.seen = tile.shape
        padded = np.pad(tile, ((1, 1), (1, 1), (0, 0)), "edge")
        mean: Tile = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) * np.float32(0.25)
        return mean.repeat(self.tiling.scale, 0).repeat(self.tiling.scale, 1)

    def sharpen(self, pixels: Tile, factor: float) -> Tile:
        return pixels

    def sharpen_margin(self, factor: float) -> int:
        return 0


def photo(channels: int = 3, depth: type[np.uint8 | np.uint16] = np.uint8) -> CanonicalImage:
    pixels = data.astronaut()[30:82, 180:252].astype(np.uint32)
    grey = pixels[:, :, :1]
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint32)
    alpha[10:30, 15:50] = 0
    alpha[30:35, 15:50] = 100
    parts = {1: [grey], 2: [grey, alpha], 3: [pixels], 4: [pixels, alpha]}[channels]
    scaled: Any = (np.concatenate(parts, 2) * (np.iinfo(depth).max // 255)).astype(depth)
    return CanonicalImage(scaled, b"a profile")


def enlarged(image: CanonicalImage, size: Size, upscaler: Any) -> Pixels:
    return Enlargement(image, size, upscaler).run(lambda done, of: None).pixels


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_tiles_of_an_interpolator_equal_the_whole(
    depth: type[np.uint8 | np.uint16], channels: int, size: Size
) -> None:
    image = photo(channels, depth)
    whole = enlarged(image, size, Lanczos(tiling=Tiling(1, 1000)))
    assert whole.dtype == depth
    assert whole.shape == (size.height, size.width, channels)
    for side in (7, 32):
        assert np.array_equal(enlarged(image, size, Lanczos(tiling=Tiling(1, side))), whole)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", SIZES)
def test_the_tiles_of_a_network_equal_the_whole_where_the_margin_holds_what_it_sees(size: Size, scale: int) -> None:
    whole = enlarged(photo(4), size, Repeating(Tiling(scale, 1000)))
    for tiling in (
        Tiling(scale, 40, margin=16),
        Tiling(scale, 48, margin=16, multiple=4),
        Tiling(scale, 44, margin=16, fade=10),
    ):
        assert np.array_equal(enlarged(photo(4), size, Repeating(tiling)), whole)


@pytest.mark.parametrize("length", [*range(1, 130), 1000])
def test_tiles_with_their_margins_are_no_larger_than_they_may_be_and_as_few_as_can_be(length: int) -> None:
    tiling = Tiling(2, 40, margin=12)
    spans = tiling.spans(length)
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == length
    seen = [min(length, end + 12) - max(0, start - 12) for start, end in spans]
    assert max(seen) <= 40
    assert len(spans) == max(1, -(-(length - 2 * 12) // (40 - 2 * 12)))


def test_tiles_that_differ_fade_into_each_other() -> None:
    class Uneven(Repeating):
        """Each tile is brighter than the one before."""

        calls = 0

        def enlarge(self, tile: Tile, on_wait: OnWait) -> Tile:
            self.calls += 1
            return np.full((2 * tile.shape[0], 2 * tile.shape[1], 3), 0.1 * self.calls, np.float32)

    image = CanonicalImage(np.zeros((40, 80, 3), np.uint8))
    hard, soft = (enlarged(image, Size(160, 80), Uneven(Tiling(2, 60, margin=10, fade=fade))) for fade in (0, 8))
    assert np.abs(np.diff(hard[:, :, 0].astype(int), axis=1)).max() > 20
    assert np.abs(np.diff(soft[:, :, 0].astype(int), axis=1)).max() < 4
    assert (soft[:, :90] == hard[:, :90]).all()
    assert (soft[:, 110:] == hard[:, 110:]).all()


def test_a_network_of_one_size_gets_that_size_alone() -> None:
    upscaler = Repeating(Tiling(2, 64, margin=20, is_fixed=True))
    tiled = enlarged(photo(), Size(144, 104), upscaler)
    assert upscaler.seen == (64, 64, 3)
    assert np.array_equal(tiled, enlarged(photo(), Size(144, 104), Repeating(Tiling(2, 1000))))


def test_the_profile_is_kept_and_sixteen_bits_are_more_than_eight() -> None:
    result = Enlargement(photo(3, np.uint16), Size(144, 104), Lanczos()).run(lambda done, of: None)
    assert result.icc_profile == b"a profile"
    assert result.bits == 16
    assert len(np.unique(result.pixels)) > 256


def test_alpha_is_enlarged_and_colours_that_nobody_sees_do_not_bleed() -> None:
    """Below the transparent part lies another colour in one of them."""
    hidden = photo(4).pixels.copy()
    hidden[hidden[:, :, 3] == 0, :3] = 0, 255, 0
    for upscaler in (Lanczos(), Repeating(Tiling(2, 40, margin=12))):
        plain = enlarged(photo(4), Size(144, 104), upscaler)
        other = enlarged(CanonicalImage(hidden), Size(144, 104), upscaler)
        visible = plain[:, :, 3] > 0
        assert np.array_equal(plain[visible], other[visible])
        assert plain[40, 60, 3] == 0
        assert plain[90, 130, 3] == 255
        assert 90 < plain[65, 60, 3] < 110
    assert COLOUR_SPREAD > 3


def test_a_flat_image_stays_flat() -> None:
    flat = CanonicalImage(np.full((20, 20, 3), 77, np.uint8))
    assert (enlarged(flat, Size(50, 50), Lanczos()) == 77).all()


def test_edges_are_steeper_than_lanczos_alone() -> None:
    image = photo()
    size = Size(288, 208)

    class Plain(Lanczos):
        def sharpen(self, pixels: Tile, factor: float) -> Tile:
            return pixels

    sharp, plain = (enlarged(image, size, upscaler()).astype(int) for upscaler in (Lanczos, Plain))
    slopes = [np.abs(np.diff(pixels[:, :, 1], axis=1)) for pixels in (sharp, plain)]
    steep = slopes[1] > np.quantile(slopes[1], 0.95)
    assert slopes[0][steep].mean() > 1.05 * slopes[1][steep].mean()


def test_progress_is_told_and_an_exception_from_it_ends_the_work() -> None:
    told: list[tuple[int, int]] = []
    upscaler = Repeating(Tiling(2, 36, margin=4))
    Enlargement(photo(), Size(144, 104), upscaler).run(lambda done, of: told.append((done, of)))
    assert told[0] == (0, 6)
    assert told[-1] == (6, 6)
    assert told == sorted(told)

    def cancel(done: int, of: int) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        Enlargement(photo(), Size(144, 104), upscaler).run(cancel)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3, 3), np.float32), None])
def test_an_output_of_another_size_or_without_numbers_is_refused(wrong: Any) -> None:
    class Broken(Repeating):
        def enlarge(self, tile: Tile, on_wait: OnWait) -> Tile:
            return super().enlarge(tile, on_wait) * np.float32(np.nan) if wrong is None else wrong

    with pytest.raises(EngineFailed, match="Repeating returned"):
        enlarged(photo(), Size(144, 104), Broken(Tiling(2, 1000)))
