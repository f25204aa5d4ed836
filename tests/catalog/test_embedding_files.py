"""Checks of embedding files, and recognition of their family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from inpainting.catalog.inspection import embedding_files
from inpainting.catalog.inspection.adapter_files import check_adapter
from inpainting.catalog.inspection.embedding_files import check_embedding
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.specs import Kind

Tensors = dict[str, NDArray[np.float32]]


def vectors(*shape: int) -> NDArray[np.float32]:
    return np.full(shape, 0.5, np.float32)


def file(folder: Path, tensors: Tensors, name: str = "cat.safetensors") -> Path:
    save_file(tensors, folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("family", "tensors"),
    [
        ("sd", {"<cat>": vectors(768)}),
        ("sd", {"emb_params": vectors(8, 768)}),
        ("sd", {"emb_params": vectors(75, 1024).astype(np.float16)}),
        ("sdxl", {"clip_l": vectors(2, 768), "clip_g": vectors(2, 1280)}),
    ],
)
def test_each_published_format_is_accepted_for_its_family_alone(family: str, tensors: Tensors, tmp_path: Path) -> None:
    path = file(tmp_path, tensors)
    check_adapter(path, family, Kind.EMBEDDING)
    other = "sd" if family == "sdxl" else "sdxl"
    with pytest.raises(ModelRefused, match=f"of the family {family}, not {other}"):
        check_embedding(path, other)


@pytest.mark.parametrize(
    ("family", "tensors", "message"),
    [
        ("sd", {"a": vectors(1, 768), "b": vectors(1, 768)}, "it holds 2 tensors"),
        ("sd", {"clip_g": vectors(1, 1280)}, "vectors of 1280 features"),
        ("sd", {"emb_params": vectors(76, 768)}, "holds 76 vectors"),
        ("sd", {"emb_params": vectors(0, 768)}, "holds 0 vectors"),
        ("sd", {"emb_params": vectors(1, 1, 768)}, "has 3 dimensions"),
        ("sd", {"emb_params": np.ones((1, 768), np.int32)}, "holds I32 numbers"),
        ("sd", {"emb_params": vectors(1, 768) * np.inf}, "not finite"),
        ("sdxl", {"clip_l": vectors(1, 768), "clip_g": vectors(2, 1280)}, "1 and 2 vectors|2 and 1 vectors"),
        ("sdxl", {"clip_l": vectors(1, 1280), "clip_g": vectors(1, 768)}, "vectors of 1280 features"),
    ],
)
def test_a_damaged_file_or_one_of_another_shape_is_refused(
    family: str, tensors: Tensors, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelRefused, match=message):
        check_embedding(file(tmp_path, tensors), family)


def test_only_a_small_safetensors_file_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = file(tmp_path, {"emb_params": vectors(1, 768)})
    pickle = tmp_path / "cat.pt"
    pickle.write_bytes(good.read_bytes())
    for path, message in ((pickle, "pickle"), (tmp_path, r"is no \.safetensors file"), (tmp_path / "x.txt", "is no")):
        with pytest.raises(ModelRefused, match=message):
            check_embedding(path, "sd")
    monkeypatch.setattr(embedding_files, "MAX_EMBEDDING_BYTES", 100)
    with pytest.raises(ModelRefused, match="is larger than"):
        check_embedding(good, "sd")
