"""Upscalers by networks: equal to the same network in NumPy, refused where a file is another one, and cancelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import Cancelled, EngineFailed
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.resampling import Axis, resample
from inpainting.networks.network_cache import network_cache
from inpainting.upscalers.enlarging import Enlargement, tiles_of
from inpainting.upscalers.networks import network_upscaler
from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler

pytest.importorskip("torch", reason="diffusion is not installed")
pytest.importorskip("onnx", reason="a light installation has no onnx")
from inpainting.upscalers.networks import torch_networks
from tests.support import tiny_upscalers as tiny

IMAGE = data.astronaut()[20:58, 200:246]
Save = Callable[..., NetworkUpscaler]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save weights, or the bytes of a graph, as a model of that family."""

    def save(family: str, weights: Any) -> NetworkUpscaler:
        path = tmp_path / f"{family}{'.onnx' if isinstance(weights, bytes) else '.safetensors'}"
        if isinstance(weights, bytes):
            path.write_bytes(weights)
        else:
            save_file(weights, path)
        return NetworkUpscaler(ModelSpec(slug=f"tiny-{family}", label="Tiny", family=family, path=path))

    return save


def chw(image: Any) -> Any:
    return (np.asarray(image, np.float32) / 255).transpose(2, 0, 1)


@pytest.mark.parametrize("sizes", [tiny.X2, tiny.X4])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rrdbnet_computes_what_its_papers_say(save: Save, sizes: Any, dtype: type) -> None:
    weights: Any = {name: tensor.astype(dtype) for name, tensor in tiny.rrdbnet(sizes).items()}
    found = save("rrdbnet", weights).loaded.compute(chw(IMAGE)[None], lambda: None)[0]
    expected = tiny.compute_rrdbnet(
        {name: tensor.astype(np.float32) for name, tensor in weights.items()}, sizes, chw(IMAGE)
    )
    assert found.shape == (3, sizes.scale * 38, sizes.scale * 46)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("sizes", [tiny.X2, tiny.X4])
def test_the_names_of_esrgan_are_those_of_real_esrgan(save: Save, sizes: Any) -> None:
    weights = tiny.rrdbnet(sizes)
    plain = save("rrdbnet", weights).loaded.compute(chw(IMAGE)[None], lambda: None)
    old = save("rrdbnet", tiny.with_names_of_esrgan(weights, sizes)).loaded.compute(chw(IMAGE)[None], lambda: None)
    assert np.array_equal(plain, old)


def test_srvgg_computes_what_its_authors_do(save: Save) -> None:
    weights = tiny.srvgg()
    found = save("srvgg", weights).loaded.compute(chw(IMAGE)[None], lambda: None)[0]
    assert np.abs(found - tiny.compute_srvgg(weights, tiny.COMPACT, chw(IMAGE))).max() < 1e-4


@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("rrdbnet", tiny.rrdbnet(tiny.X2)),
        ("rrdbnet", tiny.rrdbnet(tiny.X4)),
        *(("swinir", tiny.transformer(name)) for name in tiny.TRANSFORMERS if name.startswith("swinir")),
    ],
)
def test_the_last_layers_compute_in_strips_what_they_do_at_once(
    save: Save, family: str, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = save(family, weights).loaded
    image = chw(data.astronaut()[20:68, 200:248])[None]
    at_once = network.compute(image, lambda: None)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    monkeypatch.setattr(torch_networks, "STRIP_PIXELS", 5 * at_once.shape[3] ** 2 // image.shape[3])
    monkeypatch.setattr(torch_networks, "check_stop", count)
    assert np.abs(network.compute(image, lambda: None) - at_once).max() < 1e-5
    assert calls > 5


@pytest.mark.parametrize(
    ("family", "weights"),
    [("rrdbnet", tiny.rrdbnet(tiny.X2)), ("rrdbnet", tiny.rrdbnet(tiny.X4)), ("onnx-upscaler", tiny.onnx_upscaler(2))],
)
def test_an_image_of_512x512_is_one_tile(save: Save, family: str, weights: Any) -> None:
    assert len(tiles_of(Size(512, 512), save(family, weights).tiling)) == 1


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("srvgg", tiny.srvgg()),
        ("onnx-upscaler", tiny.onnx_upscaler(2)),
        ("onnx-upscaler", tiny.onnx_upscaler(4, sides=(64, 64))),
    ],
    ids=["srvgg", "onnx", "onnx of one size"],
)
def test_tiles_equal_the_whole_where_the_margin_holds_what_the_network_sees(
    save: Save, family: str, weights: Any, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the borders of the image, where a network may see repeated pixels or none."""
    monkeypatch.setattr(network_upscaler, "MAX_OUTPUT_SIDE", 384)
    pixels = data.astronaut()[:260, 180:424]
    upscaler, size = save(family, weights), Size(round(factor * 244), round(factor * 260))
    work = Enlargement(CanonicalImage(pixels), size, upscaler)
    tiled = work.run(lambda done, of: None).pixels
    assert len(work.tiles) >= 4
    output: Any
    scale = upscaler.tiling.scale
    if upscaler.tiling.is_fixed:
        around = np.pad(pixels, ((1, 1), (1, 1), (0, 0))).astype(np.float32) / 255
        total = 4 * around[1:-1, 1:-1] + around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
        output = (total / np.float32(8)).repeat(scale, 0).repeat(scale, 1)
    else:
        output = upscaler.loaded.compute(chw(pixels)[None], lambda: None)[0].transpose(1, 2, 0)
    axes = Axis(260 * scale, size.height), Axis(244 * scale, size.width)
    whole = np.rint(resample(output, axes, (0, 0), Box.whole(size)).clip(0, 1) * 255)
    inner = slice(32, -32)
    assert np.abs(whole - tiled)[inner, inner].max() <= 1


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_and_transparent_images_of_both_depths_stay_what_they_are(
    save: Save, channels: int, depth: type[np.uint8 | np.uint16]
) -> None:
    pixels: Any = np.full((38, 46, channels), np.iinfo(depth).max // 2, depth)
    result = Enlargement(CanonicalImage(pixels), Size(92, 76), save("onnx-upscaler", tiny.onnx_upscaler())).run(
        lambda done, of: None
    )
    assert result.pixels.shape == (76, 92, channels)
    assert result.pixels.dtype == depth
    middle = result.pixels[20:-20, 20:-20].astype(int)
    assert np.abs(middle - np.iinfo(depth).max // 2).max() <= 1


@pytest.mark.parametrize(
    ("family", "weights", "message"),
    [
        ("rrdbnet", tiny.srvgg(), "it has no conv_first"),
        ("rrdbnet", {n: t for n, t in tiny.rrdbnet().items() if "rdb2.conv3.bias" not in n}, "rdb2.conv3.bias is None"),
        ("rrdbnet", {**tiny.rrdbnet(), "extra.weight": np.zeros(3, np.float32)}, "extra.weight"),
        ("rrdbnet", {**tiny.rrdbnet(), "conv_first.weight": np.zeros((8, 13, 3, 3), np.float32)}, "13 channels"),
        ("srvgg", tiny.rrdbnet(), "no body of convolutions"),
        ("onnx-upscaler", tiny.onnx_upscaler(channels=1), "returns no image of 3 channels"),
        ("onnx-upscaler", tiny.onnx_upscaler(1), "does not enlarge"),
    ],
)
def test_a_file_of_another_network_is_refused(save: Save, family: str, weights: Any, message: str) -> None:
    with pytest.raises(EngineFailed, match=message) as caught:
        _ = save(family, weights).tiling
    assert caught.value.code == "model_refused"


@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("rrdbnet", tiny.rrdbnet()),
        ("rrdbnet", tiny.rrdbnet(tiny.X4)),
        ("srvgg", tiny.srvgg()),
        ("swinir", tiny.transformer("swinir pixelshuffle")),
        ("dat", tiny.transformer("dat")),
    ],
    ids=["x2", "x4", "compact", "swinir", "dat"],
)
def test_planning_knows_the_tiles_of_a_network_without_loading_it(
    save: Save, family: str, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = save(family, weights)
    with monkeypatch.context() as patched:
        patched.setattr(network_cache, "of", None)
        planned = upscaler.planned_tiling
    assert planned is not None
    assert planned == upscaler.tiling


def test_the_tiles_of_a_network_whose_file_does_not_tell_them_are_not_known(save: Save) -> None:
    assert save("onnx-upscaler", tiny.onnx_upscaler()).planned_tiling is None
    assert save("rrdbnet", tiny.srvgg()).planned_tiling is None


@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("rrdbnet", tiny.rrdbnet()),
        ("srvgg", tiny.srvgg()),
        ("swinir", tiny.transformer("swinir pixelshuffle")),
        ("hat", tiny.transformer("hat")),
        ("dat", tiny.transformer("dat")),
    ],
)
def test_a_network_stops_between_its_blocks(
    save: Save, family: str, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inpainting import keepalive

    monkeypatch.setattr(keepalive, "KEEPALIVE_SECONDS", 0.001)
    upscaler = save(family, weights)
    calls: list[int] = []

    def cancel() -> None:
        calls.append(1)
        raise Cancelled

    with pytest.raises(Cancelled):
        upscaler.loaded.compute(np.zeros((1, 3, 640, 640), np.float32), cancel)
    assert calls == [1]


def test_the_cache_of_networks_holds_them(save: Save) -> None:
    upscaler = save("rrdbnet", tiny.rrdbnet())
    assert upscaler.loaded is NetworkUpscaler(upscaler.spec).loaded
    assert network_cache.used_bytes("cpu") > 0
