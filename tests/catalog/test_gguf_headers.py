"""The header of a GGUF file is read without its numbers, and a damaged or hostile one is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.gguf_header import TYPES, read_gguf_header

SHAPE = (4, 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a matrix in 8 bits and a vector in float32."""
    path = tmp_path / "net.gguf"
    writer = gguf.GGUFWriter(path, arch="flux")
    writer.add_array("shape", [4, 64])
    writer.add_bool("is_flux", True)
    writer.add_tensor("a.bias", np.zeros(3, np.float32))
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("a.weight", gguf.quantize(np.ones(SHAPE, np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelRefused) as caught:
        read_gguf_header(path)
    return caught.value.message


def test_types_are_those_of_the_format() -> None:
    for number, (name, *sizes) in TYPES.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (kind.name, gguf.GGML_QUANT_SIZES[kind]) == (name, tuple(sizes))


def test_the_tensors_are_where_the_library_finds_them(path: Path) -> None:
    header = read_gguf_header(path)
    assert {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()} == {
        "a.bias": ("F32", [3]),
        "a.weight": ("Q8_0", [*SHAPE]),
    }
    for tensor in gguf.GGUFReader(path).tensors:
        begin = int(tensor.data_offset)
        assert header[tensor.name]["data_offsets"] == [begin, begin + int(tensor.n_bytes)]


def test_a_file_that_is_cut_off_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in [*range(0, 200, 7), len(whole) - 64]:
        assert path.name in refusal(path, whole[:length])


def test_a_changed_byte_of_a_header_is_read_or_refused(path: Path) -> None:
    whole = path.read_bytes()
    refused = 0
    for place in range(150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_gguf_header(path)
        except ModelRefused:
            refused += 1
    assert 50 < refused < 150


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GGML" + bytes(40), "is no .gguf file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), f"{2**60} tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), f"{2**60} notes"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "header does not fit"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 4, 2**40), f"{2**40} values"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 9, 1), "values of the type 9"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQQ17sII", 3, 0, 1, 17, b"general.alignment", 4, 0), "general.alignment is “0”"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"a", 999), "999 dimensions"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 32, 16, 0), "type that is not supported (“a”: 16)"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 31, 8, 0), "described wrongly"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"a", 1, 2**40, 0, 0), "lies from byte"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + 2 * struct.pack("<Q1sIQIQ", 1, b"a", 1, 1, 0, 0), "one name"),
    ],
)
def test_a_hostile_header_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path / "net.gguf", content + bytes(16))


def test_tensors_that_overlap_are_refused(tmp_path: Path) -> None:
    tensors = b"".join(struct.pack("<Q1sIQIQ", 1, name, 1, 16, 0, 0) for name in (b"a", b"b"))
    content = b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + tensors
    assert "“b” lies from byte" in refusal(tmp_path / "net.gguf", content + bytes(256))
