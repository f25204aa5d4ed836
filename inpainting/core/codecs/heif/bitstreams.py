"""The size that a coded image declares itself: a box ispe may lie, and a decoder reserves memory by the bitstream.

HEVC: ITU-T H.265, sections 7.3.1 and 7.3.2.2. AV1: https://aomediacodec.github.io/av1-spec/, sections 5.3 to 5.5.
"""

from __future__ import annotations

from functools import cache

from inpainting.core.codecs.heif.boxes import BoxReader
from inpainting.core.codecs.intake import Intake

HEVC_SPS = 33
HEVC_SLICES = range(32)
AV1_SEQUENCE_HEADER, AV1_FRAME_HEADER, AV1_FRAME = 1, 3, 6
MAX_FRAMES = 8
"""Frames that one coded AV1 image may have: the layers of a progressive image (section 6.4.1: at most 4)."""
MAX_UNITS = 8192
"""The limit for all coded images of a file and their configurations: eight for each tile of the largest grid. An image
of HEVC's highest level has at most 600 slices (H.265, table A.8)."""
PROFILE_BITS, LEVEL_BITS = 88, 8
EXAMINED_BYTES = 512
"""The examined bytes of a sequence header: what lies before the sizes has at most 326 bytes."""


class BitReader:
    """Reads bits from the highest of the first byte on; beyond the end they are 0."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data), 8 * len(data)

    def bits(self, count: int) -> int:
        self.left -= count
        found = self.value >> self.left if self.left >= 0 else 0
        return found & (1 << count) - 1

    def exponential(self) -> int:
        """Return an unsigned Exp-Golomb code (H.265, section 9.2) or AV1's uvlc, which is the same."""
        zeros = 0
        while zeros < 32 and not self.bits(1):
            zeros += 1
        return (1 << zeros) - 1 + self.bits(zeros)


class BitstreamSizes:
    """Reads the width and height that coded images of one file declare, in their headers and their configurations.

    Images may share a configuration, which is read once. The units of all images and configurations count together.
    """

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self._units = 0
        self._hevc_configuration = cache(self._read_hevc_configuration)
        self._av1_configuration = cache(self._read_av1)

    def hevc(self, configuration: bytes, body: bytes) -> frozenset[tuple[int, int]]:
        """Return the sizes of all sequence parameter sets of a coded image and of its box hvcC (ISO/IEC 14496-15,
        8.3.3).

        Raises InvalidImage for damaged data, more than one image, and too many units.
        """
        length_size, sizes = self._hevc_configuration(configuration)
        reader, more, images = BoxReader(body, self.intake), set(), 0
        while not reader.is_at_end():
            unit = self._hevc_unit(reader, length_size)
            if _hevc_kind(unit) == HEVC_SPS:
                more.add(_sps_size(unit))
            elif _hevc_kind(unit) in HEVC_SLICES and len(unit) > 2:
                images += unit[2] >> 7  # first_slice_segment_in_pic_flag
        if images != 1:
            raise self.intake.damage_error("its image data is corrupt")
        return sizes | more

    def av1(self, configuration: bytes, body: bytes) -> frozenset[tuple[int, int]]:
        """Return the largest sizes of all sequence headers of a coded image and of its box av1C.

        Raises InvalidImage for damaged data, too many frames and too many units.
        """
        configured_frames, sizes = self._av1_configuration(configuration[4:])
        frames, more = self._read_av1(body)
        frames += configured_frames
        if frames > MAX_FRAMES:
            raise self.intake.too_complex("frames in one image", limit=MAX_FRAMES)
        if not frames:
            raise self.intake.damage_error("it holds no image data")
        return sizes | more

    def _read_hevc_configuration(self, configuration: bytes) -> tuple[int, frozenset[tuple[int, int]]]:
        """Return the number of bytes of a unit's length in the coded image, and the sizes."""
        reader = BoxReader(configuration, self.intake)
        reader.bytes(21)
        length_size = (reader.number(1) & 3) + 1
        sizes = set()
        for _ in range(reader.number(1)):
            reader.number(1)
            for _ in range(reader.number(2)):
                unit = self._hevc_unit(reader, 2)
                if _hevc_kind(unit) == HEVC_SPS:
                    sizes.add(_sps_size(unit))
        return length_size, frozenset(sizes)

    def _hevc_unit(self, reader: BoxReader, length_size: int) -> bytes:
        self._count_unit()
        return reader.bytes(reader.number(length_size))

    def _read_av1(self, data: bytes) -> tuple[int, frozenset[tuple[int, int]]]:
        """Return the number of frames, and the sizes, of open bitstream units (section 5.3)."""
        reader, frames, sizes = BoxReader(data, self.intake), 0, set()
        while not reader.is_at_end():
            self._count_unit()
            header = reader.number(1)
            if header & 4:
                reader.number(1)
            unit = reader.bytes(_leb128(reader) if header & 2 else len(data) - reader.position)
            kind = header >> 3 & 15
            frames += kind in (AV1_FRAME, AV1_FRAME_HEADER)
            if kind == AV1_SEQUENCE_HEADER:
                sizes.add(_sequence_size(unit))
        return frames, frozenset(sizes)

    def _count_unit(self) -> None:
        self._units += 1
        if self._units > MAX_UNITS:
            raise self.intake.too_complex("units of coded data", limit=MAX_UNITS)


def _hevc_kind(unit: bytes) -> int:
    return unit[0] >> 1 & 63 if unit else -1


def _sps_size(unit: bytes) -> tuple[int, int]:
    reader = BitReader(unit[2:EXAMINED_BYTES].replace(b"\0\0\3", b"\0\0"))
    reader.bits(4)
    sub_layers = reader.bits(3)
    reader.bits(1 + PROFILE_BITS + LEVEL_BITS)
    present = [(reader.bits(1), reader.bits(1)) for _ in range(sub_layers)]
    if sub_layers:
        reader.bits(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        reader.bits(PROFILE_BITS * has_profile + LEVEL_BITS * has_level)
    reader.exponential()
    if reader.exponential() == 3:  # chroma_format_idc 4:4:4
        reader.bits(1)
    return reader.exponential(), reader.exponential()


def _leb128(reader: BoxReader) -> int:
    value = 0
    for place in range(8):
        byte = reader.number(1)
        value |= (byte & 127) << 7 * place
        if not byte & 128:
            break
    return value


def _sequence_size(unit: bytes) -> tuple[int, int]:
    reader = BitReader(unit[:EXAMINED_BYTES])
    reader.bits(3 + 1)
    if reader.bits(1):  # reduced_still_picture_header
        reader.bits(5)
    else:
        _skip_operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    return reader.bits(width_bits) + 1, reader.bits(height_bits) + 1


def _skip_operating_points(reader: BitReader) -> None:
    delay_bits = 0
    if reader.bits(1):  # timing_info_present_flag
        reader.bits(64)
        if reader.bits(1):  # equal_picture_interval
            reader.exponential()
        if reader.bits(1):  # decoder_model_info_present_flag
            delay_bits = reader.bits(5) + 1
            reader.bits(32 + 5 + 5)
    has_display_delay = reader.bits(1)
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)
        if reader.bits(5) > 7:  # seq_level_idx
            reader.bits(1)
        if delay_bits and reader.bits(1):
            reader.bits(2 * delay_bits + 1)
        if has_display_delay and reader.bits(1):
            reader.bits(4)
