"""AVIF and HEIC: pixels, depth, alpha, turns and profiles of what encoders write; lies and damage are refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs import decode_image
from inpainting.core.codecs.decoders import decode_with_libheif
from inpainting.core.codecs.heif import heif
from inpainting.core.codecs.heif.bitstreams import BitReader
from inpainting.core.codecs.heif.boxes import box
from inpainting.core.codecs.heif.items import Property
from inpainting.core.codecs.heif.writing import WrittenItem, write_heif
from inpainting.core.codecs.metadata.exif import apply_orientation
from inpainting.core.errors import InvalidImage
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from tests.core import heif_grids, heifs, hostile
from tests.core.hostile_heifs import (
    REFUSED,
    RGB,
    RGB_16,
    avif_grid_of_configurations,
    grid_of_properties,
    grid_with_alpha,
    heic_grid_of_configurations,
    overlapping_tiles,
)

RGBA: NDArray[np.uint8] = np.dstack([RGB, RGB[:, :, 0]])
WRITERS: dict[str, Callable[[], bytes]] = {
    "AVIF": lambda: heifs.avif(RGB),
    "HEIC": lambda: heifs.heic(RGB),
    "HEIC of tiles": lambda: heifs.heic(RGB, tile_size=64),
}


def format_of(name: str) -> str:
    return name.split()[0]


def difference(pixels: Pixels, expected: Pixels) -> float:
    assert pixels.shape == expected.shape
    assert pixels.dtype == expected.dtype
    return float(np.abs(pixels.astype(np.int64) - expected).mean()) / np.iinfo(expected.dtype).max * 255


@pytest.mark.parametrize("name", WRITERS)
def test_a_photo_is_read_nearly(name: str) -> None:
    decoded = decode_image(WRITERS[name]())
    assert (decoded.format, decoded.warnings) == (format_of(name), ())
    assert difference(decoded.image.pixels, RGB) < 1.5


def test_lossless_images_are_read_exactly() -> None:
    assert np.array_equal(decode_image(heifs.avif(RGB, quality=100)).image.pixels.shape, RGB.shape)
    lossless = heifs.deep_avif(RGB.astype(np.uint8), 8)
    assert np.array_equal(decode_image(lossless).image.pixels, RGB)


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_grey_stays_grey_and_alpha_is_kept(write: Callable[[NDArray[np.uint8]], bytes]) -> None:
    grey = RGB[:, :, 1:2]
    file = heifs.avif(grey.squeeze(), subsampling="4:0:0") if write is heifs.avif else write(grey)
    assert difference(decode_image(file).image.pixels, grey) < 1.5
    assert difference(decode_image(write(RGBA)).image.pixels, RGBA) < 1.5


@pytest.mark.parametrize("bits", [10, 12])
def test_more_than_eight_bits_become_sixteen(bits: int) -> None:
    values = RGB_16 >> (16 - bits)
    decoded = decode_image(heifs.deep_avif(values, bits))
    expected = np.rint(values.astype(np.float64) * 65_535 / (2**bits - 1))
    assert np.array_equal(decoded.image.pixels, expected)
    assert decoded.warnings == (f"The image has {bits} bits a channel; it is kept with 16.",)


def test_ten_bits_of_heic_become_sixteen() -> None:
    decoded = decode_image(heifs.heic(RGB_16))
    assert difference(decoded.image.pixels, RGB_16) < 1.5
    assert decoded.image.pixels.max() == 65_535
    assert decoded.warnings == ("The image has 10 bits a channel; it is kept with 16.",)


TURNS = {1: [], 2: [(b"imir", 1)], 3: [(b"irot", 2)], 4: [(b"imir", 0)], 5: [(b"irot", 1), (b"imir", 0)],
         6: [(b"irot", 3)], 7: [(b"irot", 3), (b"imir", 0)], 8: [(b"irot", 1)]}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_every_turn_comes_out_upright_as_the_libraries_do_it(
    write: Callable[[NDArray[np.uint8]], bytes], orientation: int
) -> None:
    even = np.ascontiguousarray(RGB[:128, :96])  # odd sides would be cropped
    file = write(even)
    for kind, value in TURNS[orientation]:
        file = heifs.with_property(file, kind, bytes([value]))
    pixels = decode_image(file).image.pixels
    assert difference(pixels, apply_orientation(even, orientation)) < 1.5
    if write is heifs.heic:
        assert np.array_equal(pixels, decode_with_libheif(file))
    else:
        image = Image.open(io.BytesIO(file))
        assert image.getexif().get(0x112, 1) == orientation


def test_exif_orientation_does_not_turn_a_second_time() -> None:
    turned = heifs.avif(RGB, exif=hostile.exif(6).removeprefix(b"Exif\0\0"))
    assert decode_image(turned).image.pixels.shape[:2] == (197, 203)


def test_a_crop_is_applied() -> None:
    even = np.ascontiguousarray(RGB[:128, :96])
    numbers = (40, 1, 30, 1, 10, 1, -20, 1)  # width, height and the centre's distance from the image's
    file = heifs.with_property(heifs.avif(even), b"clap", struct.pack(">IIIIiIiI", *numbers))
    assert difference(decode_image(file).image.pixels, even[29:59, 38:78]) < 1.5


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_a_profile_is_kept(write: Callable[[NDArray[np.uint8]], bytes]) -> None:
    profile = hostile.srgb_profile()  # which holds the time
    decoded = decode_image(heifs.with_property(write(RGB), b"colr", b"prof" + profile, is_essential=False))
    assert (decoded.image.icc_profile, decoded.warnings) == (profile, ())


@pytest.mark.parametrize(
    ("points", "words"), [((9, 16), "HDR image (PQ)"), ((9, 18), "HDR image (HLG)"), ((12, 13), "primary colours")]
)
def test_colours_beyond_srgb_are_told(points: tuple[int, int], words: str) -> None:
    srgb = b"nclx" + struct.pack(">HH", 1, 13)
    file = heifs.replaced(heifs.heic(RGB), srgb, b"nclx" + struct.pack(">HH", *points))
    (warning,) = decode_image(file).warnings
    assert words in warning


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    file = hostile.saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], duration=100, quality=95)
    decoded = decode_image(file)
    assert decoded.warnings == ("The image is animated; its first frame is used.",)
    assert difference(decoded.image.pixels, RGB) < 3


def test_a_gain_map_is_left_out_with_a_warning() -> None:
    alpha = b"urn:mpeg:hevc:2015:auxid:1\0"
    gain_map = b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
    body = heifs.heic(np.ascontiguousarray(RGBA[:128, :96]))
    begin, end = heifs.find_box(body, b"meta", b"iprp", b"ipco", b"auxC")
    grown = bytearray(body[:begin] + box(b"auxC", bytes(4) + gain_map) + body[end:])
    more = len(gain_map) - len(alpha)
    for path in ((b"meta",), (b"meta", b"iprp"), (b"meta", b"iprp", b"ipco")):
        place = heifs.find_box(body, *path)[0]
        grown[place : place + 4] = (int.from_bytes(body[place : place + 4]) + more).to_bytes(4)
    decoded = decode_image(heifs.moved(bytes(grown), more))
    assert decoded.image.mode == "RGB"
    assert decoded.warnings == ("The image has a gain map for HDR screens; it is left out.",)


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_a_tone_mapped_image_beside_the_primary_one_is_left_out_with_a_warning(
    write: Callable[[NDArray[np.uint8]], bytes],
) -> None:
    """As both formats store a gain map of ISO 21496-1: an item `tmap` refers to the primary image and to the map."""
    even = np.ascontiguousarray(RGB[:128, :96])
    images = [image for pixels in (even, 255 - even) for image in heif_grids.images_of(write(pixels))]
    extents = Property(b"ispe", struct.pack(">III", 0, 96, 128), False)
    tone_mapped = WrittenItem(b"tmap", bytes(62), (extents,), tiles=(0, 1))
    decoded = decode_image(write_heif(write.__name__.encode(), [*images, tone_mapped]))
    assert difference(decoded.image.pixels, even) < 1.5
    assert decoded.warnings == ("The image has a gain map for HDR screens; it is left out.",)


def grid_of(pixels: NDArray[np.uint8], write: Callable[[NDArray[np.uint8]], bytes]) -> bytes:
    tiles = [heif_grids.images_of(write(tile)) for tile in heif_grids.tiles_of(pixels)]
    return heif_grids.grid(tiles, pixels.shape[1] // heif_grids.SIDE)


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_the_alpha_of_every_tile_is_the_alpha_of_the_grid(write: Callable[[NDArray[np.uint8]], bytes]) -> None:
    even = np.ascontiguousarray(RGBA[:128, :192])
    file = grid_of(even, write)
    decoded = decode_image(file)
    assert difference(decoded.image.pixels, even) < 1.5
    assert decoded.warnings == ()
    if write is heifs.heic:
        assert np.array_equal(decoded.image.pixels, decode_with_libheif(file))
    else:
        assert np.array_equal(decoded.image.pixels, np.asarray(Image.open(io.BytesIO(file))))


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_tiles_that_are_multiplied_with_their_alpha_are_divided_by_it(
    write: Callable[[NDArray[np.uint8]], bytes],
) -> None:
    file = grid_of(np.dstack([RGB[:64, :128] // 2, np.full((64, 128), 128, np.uint8)]), write)
    for tile, alpha in ((2, 3), (4, 5)):
        file = heif_grids.with_reference(file, b"prem", tile, alpha)
    decoded = decode_image(file)
    assert difference(decoded.image.pixels[:, :, :3], RGB[:64, :128]) < 3
    (warning,) = decoded.warnings
    assert "multiplied" in warning


@pytest.mark.parametrize("build", [avif_grid_of_configurations, heic_grid_of_configurations])
def test_a_configuration_that_tiles_share_is_read_once(build: Callable[[], bytes]) -> None:
    assert decode_image(build()).image.size == Size(1920, 1920)  # read for each tile, it has too many units


def test_properties_that_tiles_share_are_written_once(given_to_decoders: list[bytes]) -> None:
    file = grid_of_properties(20)
    decode_image(file)
    (given,) = given_to_decoders
    assert len(given) <= len(file)


def test_tiles_have_alpha_all_or_none() -> None:
    with pytest.raises(InvalidImage, match="its parts contradict each other"):
        decode_image(grid_with_alpha(in_all=False))


@pytest.fixture
def given_to_decoders(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the decoders are given."""
    given: list[bytes] = []

    def follow(name: str) -> None:
        decode = getattr(heif, name)

        def following(file: bytes, *arguments: str) -> object:
            given.append(file)
            return decode(file, *arguments)

        monkeypatch.setattr(heif, name, following)

    for name in ("decode_with_opencv", "decode_with_libheif", "decode_with_pillow"):
        follow(name)
    return given


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_a_decoder_gets_the_coded_images_alone(write: Callable[..., bytes], given_to_decoders: list[bytes]) -> None:
    file = write(RGB, xmp=hostile.SCRIPT) + box(b"free", hostile.GPS)
    assert hostile.SCRIPT in file
    decode_image(file)
    (given,) = given_to_decoders
    assert hostile.SCRIPT not in given
    assert hostile.GPS not in given


@pytest.mark.parametrize("name", REFUSED)
def test_lies_are_refused(name: str) -> None:
    build, code = REFUSED[name]
    with pytest.raises(InvalidImage) as refusal:
        decode_image(build())
    assert refusal.value.code == f"image_{code}", refusal.value.message


@pytest.mark.parametrize(
    "name", ["60000x60000", "AVIF that is larger than it says", "HEIC that is larger than it says"]
)
def test_a_lie_about_the_size_is_found_before_anything_is_decoded(name: str, given_to_decoders: list[bytes]) -> None:
    with pytest.raises(InvalidImage):
        decode_image(REFUSED[name][0]())
    assert given_to_decoders == []


def test_items_may_not_overlap() -> None:
    with pytest.raises(InvalidImage, match="its parts overlap"):
        decode_image(overlapping_tiles())


def test_an_item_of_many_frames_is_refused() -> None:
    file = heifs.avif(RGB)
    begin, end = heifs.find_box(file, b"mdat")
    coded = file[begin + 8 : end]
    for path_end in (coded * 9,):
        longer = file[:begin] + box(b"mdat", path_end)
        places = heifs.replaced(longer, len(coded).to_bytes(4), len(path_end).to_bytes(4))
        with pytest.raises(InvalidImage, match="more than 8 frames") as refusal:
            decode_image(places)
        assert refusal.value.code == "image_too_complex"


@pytest.mark.parametrize("write", [heifs.avif, heifs.heic])
def test_a_file_cut_anywhere_is_refused(write: Callable[[NDArray[np.uint8]], bytes]) -> None:
    file = write(np.ascontiguousarray(RGB[:64, :64]))
    for end in range(len(file) - 1):
        with pytest.raises(InvalidImage):
            decode_image(file[:end])


def test_bits_are_read_from_the_highest_on() -> None:
    reader = BitReader(b"\xa5\x08")
    assert [reader.bits(3), reader.bits(5)] == [0b101, 0b00101]
    assert reader.exponential() == 15, "0000 1 000 and then the end"


def test_premultiplied_avif_is_divided_by_its_alpha() -> None:
    rgba = np.dstack([RGB[:128, :96], np.full((128, 96), 128, np.uint8)])
    file = hostile.saved(Image.fromarray(rgba), "AVIF", alpha_premultiplied=True, quality=95)
    decoded = decode_image(file)
    assert decoded.image.mode == "RGBA"
    assert any("multiplied" in warning for warning in decoded.warnings)


def test_large_properties_are_refused() -> None:
    file = heifs.with_property(heifs.avif(RGB), b"auxC", bytes(5000), is_essential=False)
    with pytest.raises(InvalidImage, match="bytes of a property"):
        decode_image(file)
