"""The published Real-ESRGAN: the networks declared here compute what ONNX and ncnn do, tiles are like the whole, and
the photo is in the result."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="a light installation has no onnx")
pytest.importorskip("torch", reason="diffusion is not installed")

import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Pixels
from inpainting.upscalers.enlarging import Enlargement
from inpainting.upscalers.networks import network_upscaler
from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler
from tests.weights import ncnn_networks
from tests.weights.published import PublishedFile

pytestmark = pytest.mark.weights

PHOTO = np.ascontiguousarray(data.chelsea()[40:200, 120:312])


@pytest.fixture
def graph(published_file: PublishedFile) -> NetworkUpscaler:
    path = published_file("realesrgan-x2")
    return NetworkUpscaler(ModelSpec(slug="x2", label="Real-ESRGAN x2", family="onnx-upscaler", path=path))


def enlarged(upscaler: NetworkUpscaler) -> Pixels:
    image = CanonicalImage(PHOTO)
    return Enlargement(image, Size(384, 320), upscaler).run(lambda done, of: None).pixels


def test_the_network_declared_here_computes_what_the_graph_does(graph: NetworkUpscaler, tmp_path: Path) -> None:
    """The graph has the tensors by their names in Real-ESRGAN."""
    assert graph.spec.path is not None
    tensors = {item.name: numpy_helper.to_array(item) for item in onnx.load(graph.spec.path).graph.initializer}
    weights = {name: tensor.copy() for name, tensor in tensors.items() if name.endswith((".weight", ".bias"))}
    save_file(weights, tmp_path / "x2.safetensors")
    spec = ModelSpec(slug="x2t", label="Real-ESRGAN x2", family="rrdbnet", path=tmp_path / "x2.safetensors")
    image = np.divide(PHOTO[None, :64, :64].transpose(0, 3, 1, 2), 255, dtype=np.float32)
    found, expected = (upscaler.loaded.compute(image, lambda: None) for upscaler in (NetworkUpscaler(spec), graph))
    assert np.abs(found - expected).max() < 1e-4


def test_tiles_are_like_the_whole(graph: NetworkUpscaler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The network sees further than the margin, but what lies beyond changes next to nothing."""
    whole = enlarged(graph).astype(int)
    assert graph.spec.path is not None
    copy = tmp_path / "copy.onnx"  # or the cache would return the network with its tiling
    copy.symlink_to(graph.spec.path)
    monkeypatch.setattr(network_upscaler, "MAX_OUTPUT_SIDE", 352)
    small = NetworkUpscaler(ModelSpec(slug="x2s", label="x2", family="onnx-upscaler", path=copy))
    tiled = enlarged(small).astype(int)
    assert small.tiling.spans(192) == [(0, 104), (104, 192)]
    assert (np.abs(tiled - whole).max(2) <= 2).mean() > 0.999
    steps = [np.abs(np.diff(pixels[:, 204:212].mean(2), axis=1)).mean(0) for pixels in (tiled, whole)]
    assert steps[0][3] < 1.01 * steps[1][3]  # across the border of two tiles, at column 208


def test_the_photo_is_in_the_result(graph: NetworkUpscaler) -> None:
    """It was trained to remove grain, so fine fur differs."""
    reduced = cv2.resize(np.asarray(enlarged(graph)), (192, 160), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - PHOTO).mean() < 8


@pytest.mark.usefixtures("ncnn")
@pytest.mark.parametrize(
    ("slug", "family"),
    [("realesrgan-x4plus", "rrdbnet"), ("realesrgan-x4plus-anime", "rrdbnet"), ("realesr-animevideov3", "srvgg")],
)
def test_a_network_computes_what_ncnn_does(
    published_file: PublishedFile, slug: str, family: str, tmp_path: Path
) -> None:
    """In 32 bits, within a hundredth of a step of 8 bits."""
    save_file(ncnn_networks.tensors(slug, published_file), tmp_path / "x4.safetensors")
    spec = ModelSpec(slug=slug, label="x4", family=family, path=tmp_path / "x4.safetensors")
    image = np.divide(PHOTO[:48, :64].transpose(2, 0, 1), 255, dtype=np.float32)
    found = NetworkUpscaler(spec).loaded.compute(image[None], lambda: None)[0]
    expected = ncnn_networks.compute(ncnn_networks.load(slug, published_file), image)
    assert found.shape == expected.shape == (3, 192, 256)
    assert np.abs(found - expected).max() < 1e-4 / 2.55
