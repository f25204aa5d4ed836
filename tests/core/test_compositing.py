"""Compositing puts the painting inside the mask without a seam, and changes no pixel outside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color, data

from inpainting.core.compositing import Composite, composite, cut, outside_mask_changed_pixels
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Box, Size, Window, WindowRule, plan_window
from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.masks import bounds
from inpainting.core.seams import seam_score
from tests.core.shapes import disc


def whole(size: Size) -> Window:
    return Window(Box.whole(size), size)


def deep(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The same image in 16 bits."""
    return (pixels.astype(np.uint32) * 257).astype(np.uint16)


def cast(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Warmer, lighter and flatter, without clipping."""
    return np.rint(pixels * [0.8, 0.78, 0.7] + [38, 25, 15]).astype(np.uint8)


def put(image: CanonicalImage, mask: Mask, painting: NDArray[np.uint8], blur: int = 0) -> Composite:
    return composite(image, mask, whole(image.size), painting, blur=blur)


PHOTOS = {"astronaut": data.astronaut, "cat": data.chelsea, "coffee": data.coffee, "rocket": data.rocket}


@pytest.fixture(params=list(PHOTOS))
def scene(request: pytest.FixtureRequest) -> tuple[CanonicalImage, Mask, NDArray[np.uint8]]:
    """A photo with an object added, the mask of the object, and the original photo (ground truth)."""
    truth = PHOTOS[request.param]()
    height, width = truth.shape[:2]
    mask = disc(height, width, 70)
    image = truth.copy()
    image[disc(height, width, 66) > 0] = 30, 200, 60
    return CanonicalImage(image), mask, truth


def residual(pixels: NDArray[np.uint8], truth: NDArray[np.uint8], mask: Mask) -> float:
    """Mean CIEDE2000 inside the mask."""
    box = bounds(mask)
    assert box is not None
    part = box.slices
    difference = color.deltaE_ciede2000(color.rgb2lab(pixels[part]), color.rgb2lab(truth[part]))
    return float(difference[mask[part] > 0].mean())


def matched_by_the_whole_crop(painting: NDArray[np.uint8], crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The usual correction: mean and standard deviation of everything, the removed object included."""
    made, wanted = painting.reshape(-1, 3).astype(float), crop.reshape(-1, 3).astype(float)
    shifted = (painting - made.mean(0)) / made.std(0) * wanted.std(0) + wanted.mean(0)
    return np.clip(np.rint(shifted), 0, 255).astype(np.uint8)


def test_a_colour_cast_is_corrected_better_than_by_matching_the_crop(
    scene: tuple[CanonicalImage, Mask, NDArray[np.uint8]],
) -> None:
    image, mask, truth = scene
    marked = bounds(mask)
    assert marked is not None
    window = plan_window(marked, image.size, WindowRule(0.25))
    noise = np.random.default_rng(0).normal(0, 2, truth.shape)
    painting = np.clip(cast(truth) + noise, 0, 255).astype(np.uint8)[window.box.slices]
    ours = composite(image, mask, window, painting, blur=0)
    crop = np.asarray(image.pixels[window.box.slices], np.uint8)

    def pasted(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = truth.copy()
        pixels[window.box.slices] = patch
        return pixels

    uncorrected = residual(pasted(painting), truth, mask)
    by_crop = residual(pasted(matched_by_the_whole_crop(painting, crop)), truth, mask)
    left = residual(np.asarray(ours.image.pixels, np.uint8), truth, mask)
    assert left < 0.5 * uncorrected
    assert left < 0.5 * by_crop
    assert ours.colour_matched
    assert ours.seam_score < 0.7 < ours.seam_score_plain


def test_the_blend_removes_a_cast_that_varies_across_the_patch(
    scene: tuple[CanonicalImage, Mask, NDArray[np.uint8]],
) -> None:
    image, mask, truth = scene
    slope = np.linspace(-25, 25, truth.shape[1])[np.newaxis, :, np.newaxis]
    painting = np.clip(truth * 0.7 + 38 + slope, 0, 255).astype(np.uint8)
    done = put(image, mask, painting)
    assert done.seam_blended
    assert done.seam_score < 0.5 * done.seam_score_plain
    assert residual(np.asarray(done.image.pixels, np.uint8), truth, mask) < 0.5 * residual(painting, truth, mask)


def test_a_painting_that_matches_is_not_corrected(scene: tuple[CanonicalImage, Mask, NDArray[np.uint8]]) -> None:
    image, mask, truth = scene
    done = put(image, mask, truth)
    assert (done.colour_matched, done.seam_blended) == (False, False)
    assert done.seam_score == done.seam_score_plain
    assert np.array_equal(done.image.pixels[mask > 0], truth[mask > 0])


def test_a_colour_match_that_would_worsen_the_seam_is_dropped(
    scene: tuple[CanonicalImage, Mask, NDArray[np.uint8]],
) -> None:
    image, mask, truth = scene
    exact = disc(truth.shape[0], truth.shape[1], 74)[..., np.newaxis] > 0
    painting = np.where(exact, truth, cast(truth))  # The cast is on most of the ring that the match is fitted on.
    done = put(image, mask, painting)
    assert not done.colour_matched
    assert np.array_equal(done.image.pixels[mask > 0], truth[mask > 0])


def test_the_score_is_that_of_the_result_and_never_above_the_plain_one() -> None:
    truth = data.astronaut()
    mask = disc(512, 512, 90)
    for painting in (cast(truth), np.roll(truth, 130, axis=1), 255 - truth, np.full_like(truth, 128)):
        done = put(CanonicalImage(truth), mask, painting)
        assert done.seam_score <= done.seam_score_plain
        assert done.seam_score == pytest.approx(seam_score(done.image, mask), abs=0.2, rel=0.2)


def test_the_painting_is_converted_to_each_mode_and_depth() -> None:
    mask = disc(60, 60, 20)
    painting = np.full((60, 60, 3), (200, 100, 50), np.uint8)
    for channels, expected in ((1, [124]), (2, [124, 255]), (3, [200, 100, 50]), (4, [200, 100, 50, 255])):
        kept = np.full((60, 60, channels), 255, np.uint8)
        kept[:, :, :3] = [200, 100, 50][:channels] if channels > 2 else 124
        if channels in (2, 4):
            kept[:, :, -1] = 255
        kept[disc(60, 60, 18) > 0] = 0
        for pixels, factor in ((kept, 1), (deep(kept), 257)):
            done = put(CanonicalImage(pixels, b"icc"), mask, painting)
            assert done.image.pixels[30, 30].tolist() == [value * factor for value in expected]
            assert done.image.pixels.dtype == pixels.dtype
            assert done.image.icc_profile == b"icc"


def test_a_sixteen_bit_blend_is_finer_than_eight_bits() -> None:
    mask = disc(80, 80, 30)
    ramp = np.linspace(10_000, 14_000, 80)[np.newaxis, :, np.newaxis] * np.ones((80, 1, 1))
    done = put(CanonicalImage(ramp.astype(np.uint16)), mask, np.full((80, 80, 3), 90, np.uint8))
    assert done.seam_blended
    assert len(np.unique(done.image.pixels[40, 15:65])) > 40
    assert np.abs(done.image.pixels - ramp)[mask > 0].max() < 257


def test_grey_mask_pixels_are_blended_proportionally() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 51
    image = CanonicalImage(np.full((40, 40, 3), 100, np.uint8))
    painting = np.full((40, 40, 3), 100, np.uint8)
    painting[12:28, 12:28] = 200
    assert put(image, mask, painting).image.pixels[20, 20].tolist() == [120] * 3


def test_a_blur_fades_the_painting_in_from_the_edge_inward() -> None:
    mask = disc(100, 100, 40)
    image = CanonicalImage(np.full((100, 100, 1), 100, np.uint8))
    painting = np.full((100, 100, 3), 100, np.uint8)
    painting[mask > 0] = 200
    line = put(image, mask, painting, blur=10).image.pixels[50, :51, 0].astype(int)
    assert (line[:10] == 100).all()
    assert (np.diff(line[10:]) >= 0).all()
    assert 100 <= line[10] < 103
    assert (line[21:] == 200).all()
    assert len(np.unique(line)) > 8


def test_a_blur_fades_in_even_where_the_window_ends_with_the_mask() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    image = CanonicalImage(np.full((40, 40, 3), 100, np.uint8))
    window = Window(Box(10, 10, 30, 30), Size(20, 20))
    done = composite(image, mask, window, np.full((20, 20, 3), 200, np.uint8), blur=6)
    assert done.image.pixels[20, 10, 0] < 110
    assert done.image.pixels[20, 20, 0] == 200


def test_transparency_around_the_mask_continues_inside_it() -> None:
    mask = disc(80, 80, 30)
    pixels = np.full((80, 80, 4), 255, np.uint8)
    pixels[:, :, 3] = np.linspace(40, 240, 80)[np.newaxis]
    truth = pixels[:, :, 3].astype(int)
    pixels[disc(80, 80, 25) > 0] = 0
    for some, factor in ((pixels, 1), (deep(pixels), 257)):
        done = put(CanonicalImage(some), mask, np.full((80, 80, 3), 255, np.uint8))
        assert np.abs(done.image.pixels[:, :, 3] / factor - truth).max() < 3


def test_alpha_is_opaque_inside_where_it_is_opaque_around() -> None:
    pixels = np.full((80, 80, 4), 255, np.uint8)
    pixels[disc(80, 80, 25) > 0] = 0
    done = put(CanonicalImage(pixels), disc(80, 80, 30), np.full((80, 80, 3), 9, np.uint8))
    assert (done.image.pixels[:, :, 3] == 255).all()


def test_a_fully_repainted_image_is_opaque() -> None:
    done = put(
        CanonicalImage(np.zeros((9, 9, 4), np.uint8)), np.full((9, 9), 255, np.uint8), np.full((9, 9, 3), 7, np.uint8)
    )
    assert done.image.pixels[4, 4].tolist() == [7, 7, 7, 255]
    assert (done.seam_score, done.seam_score_plain) == (0, 0)


def test_colours_under_transparent_pixels_do_not_tint_the_painting() -> None:
    mask = disc(80, 80, 30)
    pixels = np.full((80, 80, 4), 255, np.uint8)
    pixels[mask == 0] = 255, 0, 0, 0
    done = put(CanonicalImage(pixels), mask, np.full((80, 80, 3), 90, np.uint8))
    assert done.image.pixels[40, 40, :3].tolist() == [90] * 3
    assert not done.colour_matched
    assert not done.seam_blended


def test_a_patch_larger_than_one_strip_shows_no_strips() -> None:
    y, x = np.mgrid[:2300, :700]
    truth = np.repeat((120 + 50 * np.sin(x / 90) * np.cos(y / 150))[:, :, np.newaxis], 3, axis=2)
    mask = np.where((x - 350) ** 2 / 300**2 + (y - 1150) ** 2 / 1100**2 < 1, np.uint8(255), np.uint8(0))
    image = CanonicalImage(truth.astype(np.uint8))
    painting = (truth + 30 * np.cos(y / 700)[:, :, np.newaxis]).astype(np.uint8)
    done = put(image, mask, painting, blur=3)
    assert done.seam_blended
    assert outside_mask_changed_pixels(image, done.image, mask) == 0
    # What is left of a smooth cast is smooth: no row differs from the next by more than 8 bits make it.
    left = done.image.pixels.astype(int) - image.pixels
    assert np.abs(np.diff(left[:, 300:400].mean(axis=(1, 2)))).max() < 1.5
    assert np.abs(left).mean() < 0.4 * np.abs(painting.astype(int) - image.pixels)[mask > 0].mean()


def test_the_inputs_are_not_modified() -> None:
    truth, mask = data.astronaut(), disc(512, 512, 60)
    image, painting = CanonicalImage(truth.copy()), cast(truth)
    put(image, mask, painting, blur=5)
    assert np.array_equal(image.pixels, truth)
    assert np.array_equal(painting, cast(truth))
    assert np.array_equal(mask, disc(512, 512, 60))


def test_an_empty_mask_changes_nothing() -> None:
    image = CanonicalImage(data.astronaut())
    done = put(image, np.zeros((512, 512), np.uint8), cast(data.astronaut()))
    assert done.image.equals(image)


@pytest.mark.parametrize("work", [Size(150, 100), Size(600, 400), Size(200, 300)])
def test_a_window_cut_at_another_size_is_put_back_in_place(work: Size) -> None:
    pixels = data.astronaut()
    mask = disc(512, 512, 50)
    window = Window(Box(106, 156, 406, 356), work)
    part, part_mask = cut(CanonicalImage(pixels), mask, window)
    assert part.pixels.shape == (work.height, work.width, 3)
    assert part_mask.shape == (work.height, work.width)
    assert set(np.unique(part_mask)) == {0, 255}
    done = composite(CanonicalImage(pixels), mask, window, np.asarray(part.pixels, np.uint8), blur=0)
    assert np.abs(done.image.pixels.astype(int) - pixels)[mask > 0].mean() < 9
    assert outside_mask_changed_pixels(CanonicalImage(pixels), done.image, mask) == 0


def test_an_engine_sees_eight_bit_colour_of_any_image() -> None:
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8, 1) * 1000
    image = CanonicalImage(np.concatenate([grey, grey], axis=2))
    part, _ = cut(image, np.full((8, 8), 255, np.uint8), Window(Box(2, 0, 6, 8), Size(4, 8)))
    assert (part.mode, part.bits, part.size) == ("RGB", 8, Size(4, 8))
    assert part.pixels[1, 0].tolist() == [round(10_000 / 257)] * 3


def test_it_refuses_a_painting_of_another_shape() -> None:
    image, mask = CanonicalImage(data.astronaut()), disc(512, 512, 60)
    with pytest.raises(EngineFailed, match="512x512"):
        put(image, mask, np.zeros((511, 512, 3), np.uint8))
    with pytest.raises(EngineFailed, match="float32"):
        put(image, mask, np.zeros((512, 512, 3), np.float32))


def test_it_refuses_a_window_that_misses_part_of_the_mask() -> None:
    window = Window(Box(0, 0, 250, 250), Size(250, 250))
    with pytest.raises(InvalidRequest, match="extends beyond the window"):
        composite(
            CanonicalImage(data.astronaut()), disc(512, 512, 60), window, np.zeros((250, 250, 3), np.uint8), blur=0
        )


NOISE = np.random.default_rng(0).integers(0, 256, (90, 70, 4), np.uint8)


@pytest.mark.parametrize("pixels", [NOISE, deep(NOISE)])
def test_one_wrong_pixel_outside_the_mask_is_counted(pixels: Pixels) -> None:
    mask = disc(90, 70, 20)
    wrong = pixels.copy()
    wrong[mask > 0] ^= 1
    assert outside_mask_changed_pixels(CanonicalImage(pixels), CanonicalImage(wrong), mask) == 0
    wrong[89, 69, 3] ^= 1
    assert outside_mask_changed_pixels(CanonicalImage(pixels), CanonicalImage(wrong), mask) == 1
    wrong[0, 0] ^= 1
    assert outside_mask_changed_pixels(CanonicalImage(pixels), CanonicalImage(wrong), mask) == 2


def test_a_faint_mask_value_is_not_outside() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 1] = 1
    pixels = np.zeros((4, 4, 1), np.uint8)
    wrong = pixels.copy()
    wrong[1, 1] = 9
    assert outside_mask_changed_pixels(CanonicalImage(pixels), CanonicalImage(wrong), mask) == 0


def test_images_of_another_kind_cannot_be_compared() -> None:
    pixels, mask = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    others: dict[str, Pixels] = {
        "size": np.zeros((5, 4, 3), np.uint8),
        "mode": np.zeros((4, 5, 4), np.uint8),
        "bits": np.zeros((4, 5, 3), np.uint16),
    }
    for name, other in others.items():
        with pytest.raises(InvalidRequest, match=name):
            outside_mask_changed_pixels(CanonicalImage(pixels), CanonicalImage(other), mask)
    with pytest.raises(InvalidRequest, match="4x5"):
        outside_mask_changed_pixels(CanonicalImage(pixels), CanonicalImage(pixels), np.zeros((5, 4), np.uint8))
