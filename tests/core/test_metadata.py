"""The metadata that results may keep: read from hostile files, copied by an allow-list, written anew."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photos

from inpainting.core.codecs import decode_image, encode_png, replace_png_texts
from inpainting.core.codecs.formats import JPEG, WEBP, encode_copy
from inpainting.core.codecs.metadata.exif import read_tags
from inpainting.core.codecs.metadata.exif_writing import exif_block
from inpainting.core.codecs.metadata.xmp import MAX_PACKET_BYTES, read_rights, write_packet
from inpainting.core.metadata import KINDS_BY_CHOICE, MAX_TEXT_CHARACTERS, NO_METADATA, ImageMetadata, Rights
from tests.core import hostile
from tests.support.photo_metadata import PACKET, SECRETS, camera_exif, exif_values, with_metadata, xmp_of
from tests.support.strategies import examples

FORMATS = ("PNG", "JPEG", "WEBP")
SOURCES = (*FORMATS, "TIFF", "AVIF", "HEIC")
CAMERA = {"Make": "Acme", "Model": "Acme One"}
LENS = {"LensModel": "Acme 50mm", "LensSpecification": (50.0, 50.0, 1.8, 1.8)}
AUTHOR = {"Artist": "Ada", "Copyright": "(c) Ada Ünal"}
DATE = {
    "DateTime": "2026:01:02 03:04:05",
    "DateTimeOriginal": "2026:01:02 03:04:05",
    "OffsetTimeOriginal": "+02:00",
}
POSITION = {
    "GPS.GPSLatitudeRef": "N",
    "GPS.GPSLatitude": (52.0, 31.0, 12.0),
    "GPS.GPSLongitudeRef": "E",
    "GPS.GPSLongitude": (13.0, 24.0, 18.0),
    "GPS.GPSAltitude": 34.0,
}
ALL: dict[str, object] = {**AUTHOR, **CAMERA, **LENS, **DATE}
KEPT: dict[str, dict[str, object]] = {"copyright": {**AUTHOR}, "all": ALL, "all_with_gps": {**ALL, **POSITION}}
RIGHTS = Rights(
    creators=("Ada", "Ben & Co"),
    rights="All rights",
    marked="True",
    usage_terms="Ask <first>",
    web_statement="https://example.com/terms?a=1&b=2",
)


def photo() -> Image.Image:
    return Image.fromarray(photos.chelsea()[:60, :80])


def encoded(source: bytes, format: str, choice: str | None, *, comment: str = "") -> bytes:
    image = decode_image(source).image
    kept = image.metadata.select(choice)
    if format == "PNG":
        return encode_png(image, texts={"dreamlayer": comment} if comment else {}, metadata=kept)
    return encode_copy(image, format.lower(), 90, comment=comment, metadata=kept).data


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("choice", KEPT)
def test_a_file_holds_what_is_kept_and_nothing_else(source: str, to: str, choice: str) -> None:
    original = with_metadata(photo(), source, orientation=6)
    data = encoded(original, to, choice)
    values = exif_values(data)
    values.pop("ExifVersion", None)
    values = {name: text.encode("latin-1").decode() if isinstance(text, str) else text for name, text in values.items()}
    assert values == KEPT[choice]
    assert read_rights(xmp_of(data)) == RIGHTS
    assert b"GPS" not in xmp_of(data)
    assert not [secret for secret in SECRETS if secret in data]
    assert decode_image(data).image.size == decode_image(original).image.size


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_without_the_setting_a_file_holds_no_metadata(source: str, to: str) -> None:
    data = encoded(with_metadata(photo(), source), to, None)
    assert (exif_values(data), xmp_of(data)) == ({}, b"")
    image = decode_image(with_metadata(photo(), source)).image
    assert not [word for word in (b"Acme", b"Ada", *SECRETS) if word in encode_png(image)]


def test_what_was_written_is_read_again_as_the_same() -> None:
    once = decode_image(with_metadata(photo(), "JPEG", quality=91)).image
    again = decode_image(encode_png(once, metadata=once.metadata)).image
    assert again.metadata == once.metadata
    assert again.metadata.jpeg_quality == 91
    assert len(once.metadata.tags) == len(KEPT["all_with_gps"])


def test_the_settings_are_added_to_and_removed_from_a_file_with_metadata() -> None:
    source = with_metadata(photo(), "PNG")
    full = encoded(source, "PNG", "all", comment="{}")
    bare = replace_png_texts(full, {})
    assert b"dreamlayer" in full
    assert b"dreamlayer" not in bare
    assert (exif_values(bare), read_rights(xmp_of(bare))) == (exif_values(full), RIGHTS)
    values = exif_values(encoded(source, "JPEG", "all", comment="{}"))
    assert (values["UserComment"], values["Make"]) == (b"ASCII\0\0\0{}", "Acme")


def test_settings_too_long_for_a_jpeg_leave_the_metadata_in_it() -> None:
    source = with_metadata(photo(), "PNG")
    values = exif_values(encoded(source, "JPEG", "all", comment="x" * 65_400))
    assert ("UserComment" in values, values["Make"]) == (False, "Acme")
    assert "UserComment" in exif_values(encoded(source, "WEBP", "all", comment="x" * 65_400))


def test_the_longest_metadata_fit_into_a_jpeg() -> None:
    exif, long = camera_exif(), "\U0001f600" * 1000
    for tag in (0x10F, 0x110, 0x132, 0x13B, 0x8298):
        exif[tag] = long.encode()
    tags = read_tags(exif.tobytes().removeprefix(b"Exif\0\0"))
    assert max(len(tag.value) for tag in tags) == 4 * MAX_TEXT_CHARACTERS + 1
    longest = "'" * MAX_TEXT_CHARACTERS
    rights = Rights((longest,) * 10, longest, longest, longest, longest)
    image = decode_image(with_metadata(photo(), "PNG")).image
    for format in (JPEG, WEBP):
        data = encode_copy(image, format, 90, metadata=ImageMetadata(None, tags, rights)).data
        assert decode_image(data).image.metadata.rights.creators == rights.creators


@pytest.mark.parametrize("order", "<>")
def test_texts_are_cleaned_and_of_unfit_values_nothing_is_read(order: str) -> None:
    def block(number: int, kind: int, count: int, field: bytes, rest: bytes = b"") -> bytes:
        magic = b"II*\0" if order == "<" else b"MM\0*"
        entry = struct.pack(order + "HHI", number, kind, count) + field.ljust(4, b"\0")
        return magic + struct.pack(order + "IH", 8, 1) + entry + b"\0" * 4 + rest

    def offset(value: int) -> bytes:
        return struct.pack(order + "I", value)

    def read(*entry: object) -> list[bytes]:
        return [tag.value for tag in read_tags(block(*entry))]  # type: ignore[arg-type]

    assert read(0x10F, 2, 4, b"Ac\0x") == [b"Ac\0"]
    assert read(0x10F, 2, 9, offset(26), b" A\r\n\x1b[2Jme"[:9]) == [b"A [2Jm\0"]
    assert read(0x8298, 2, 8, offset(26), b" \0Eddy\0\0") == [b"Eddy\0"]
    assert read(0x8298, 2, 9, offset(26), b"Ada\0Eddy\0") == [b"Ada; Eddy\0"]
    assert read(0x10F, 2, 3, b"\xe9t\0") == ["ét\0".encode()]
    for entry in (
        (0x10F, 2, 0, b"Acme"),  # no characters
        (0x10F, 2, 4, b"  \0 "),  # blank
        (0x10F, 7, 4, b"Acme"),  # another type
        (0x10F, 2, 9, offset(26), b"Acme"),  # ends early
        (0x10F, 2, 9, offset(2**32 - 1)),
        (0x10F, 2, 2**32 - 1, offset(26)),
        (0x10F, 2, 5000, offset(26), b"A" * 5000),  # too long
        (0x8769, 4, 1, offset(2**32 - 2)),
        (0x8769, 4, 1, offset(8)),  # a directory that is its own
        (0xA433, 2, 4, b"Acme"),  # a tag of another directory
        (0x927C, 7, 4, b"note"),
    ):
        assert read(*entry) == []


def test_a_directory_of_too_many_entries_is_read_in_part() -> None:
    entry = struct.pack("<HHI4s", 0xC000, 2, 4, b"abc\0")
    make = struct.pack("<HHI4s", 0x10F, 2, 4, b"abc\0")
    for before, found in ((999, 1), (1000, 0)):
        exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + entry * before + make
        assert len(read_tags(exif)) == found


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.data())
def test_no_exif_makes_the_reader_fail(noise: bytes, at: int, draws: st.DataObject) -> None:
    whole = camera_exif().tobytes().removeprefix(b"Exif\0\0")
    position = at % len(whole)
    for exif in (noise, whole[:8] + noise, whole[:position] + noise + whole[position + len(noise) :], whole[:position]):
        tags = read_tags(exif)
        assert {(tag.directory, tag.number) for tag in read_tags(exif_block(tags))} == {
            (tag.directory, tag.number) for tag in tags
        }


def test_the_rights_are_read_from_elements_and_attributes() -> None:
    assert read_rights(PACKET) == RIGHTS
    assert read_rights(write_packet(ImageMetadata(rights=RIGHTS))) == RIGHTS
    assert read_rights(write_packet(ImageMetadata(rights=Rights(rights="]]> & <b>")))).rights == "]]> & <b>"
    assert write_packet(ImageMetadata()) == b""


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(PACKET.replace(b"<x:x", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x:x', 1), id="entities"),
        pytest.param(PACKET.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(PACKET.replace(b"All rights", b"All \xff rights"), id="not UTF-8"),
        pytest.param(PACKET.replace(b"All rights", b"&undeclared;"), id="undeclared entity"),
        pytest.param(PACKET.replace(b"</dc:rights>", b""), id="not well-formed"),
        pytest.param(PACKET + b" " * MAX_PACKET_BYTES, id="too long"),
        pytest.param(b"\0\xff", id="noise"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_packet_that_is_damaged_or_declares_entities_is_not_read(packet: bytes) -> None:
    assert read_rights(packet) == Rights()
    segment = b"http://ns.adobe.com/xap/1.0/\0" + packet[:65_000]
    assert decode_image(hostile.with_segment(hostile.jpeg(), 0xE1, segment)).warnings == ()


def test_texts_of_a_packet_are_bounded() -> None:
    many = b"<rdf:li>" + b"x" * 900 + b"</rdf:li>"
    rights = read_rights(PACKET.replace(b"<rdf:li>Ada</rdf:li>", many * 50).replace(b'"True"', b'"maybe"'))
    assert [len(creator) for creator in rights.creators] == [MAX_TEXT_CHARACTERS] * 10
    assert rights.marked == ""


def test_a_packet_of_deeply_nested_elements_is_read() -> None:
    description = b"<dc:creator><rdf:Description>"
    start = PACKET[: PACKET.index(b"<dc:creator>")]
    depth = 4000
    nested = start + description * depth + b"</rdf:Description></dc:creator>" * depth
    assert read_rights(nested + PACKET[PACKET.index(b"<dc:rights>") :]).rights == "All rights"


def test_every_choice_but_the_named_one_leaves_the_position_out() -> None:
    metadata = decode_image(with_metadata(photo(), "WEBP")).image.metadata
    with_position = [name for name in KINDS_BY_CHOICE if any(tag.kind == "gps" for tag in metadata.select(name).tags)]
    assert with_position == ["all_with_gps"]
    assert metadata.select(None) == NO_METADATA
    assert re.search(r"tags=\(ExifTag", repr(metadata))
