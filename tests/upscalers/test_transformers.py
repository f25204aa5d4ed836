"""Transformers that enlarge: equal to the published code, as `tests.support.upscaler_references` recorded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.families.super_resolution import Reconstruction, Upsampler
from inpainting.upscalers.enlarging import Enlargement, enlarge_padded
from inpainting.upscalers.networks import network_upscaler
from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler

pytest.importorskip("torch", reason="diffusion is not installed")
from tests.support import tiny_upscalers as tiny
from tests.support import upscaler_references

VARIANTS = list(tiny.TRANSFORMERS)
ROUNDING = 2e-5
"""The last bits of a product of matrices depend on the processor and on where in memory the weights lie."""


def saved(folder: Path, variant: str, weights: Any = None) -> NetworkUpscaler:
    family, _ = tiny.TRANSFORMERS[variant]
    path = folder / "tiny.safetensors"
    save_file(tiny.transformer(variant) if weights is None else weights, path)
    return NetworkUpscaler(ModelSpec(slug="tiny", label="Tiny", family=family, path=path))


def enlarged(upscaler: NetworkUpscaler) -> Any:
    return enlarge_padded(upscaler, upscaler_references.IMAGE, lambda: None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_computes_what_the_published_code_does(tmp_path: Path, variant: str) -> None:
    with np.load(upscaler_references.PATH) as references:
        expected = references[variant]
    found = enlarged(saved(tmp_path, variant))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < ROUNDING


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_that_the_sizes_tell_are_not_needed_and_not_read(tmp_path: Path, variant: str) -> None:
    plain = enlarged(saved(tmp_path, variant))
    (folder := tmp_path / "more").mkdir()
    weights = {**tiny.transformer(variant), **tiny.computed_tensors(variant)}
    assert np.abs(enlarged(saved(folder, variant, weights)) - plain).max() < ROUNDING


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_of_16_bits_are_computed_in_32(tmp_path: Path, variant: str) -> None:
    half = {name: tensor.astype(np.float16) for name, tensor in tiny.transformer(variant).items()}
    (folder := tmp_path / "half").mkdir()
    found = enlarged(saved(folder, variant, half))
    same = {name: tensor.astype(np.float32) for name, tensor in half.items()}
    assert np.abs(found - enlarged(saved(tmp_path, variant, same))).max() < ROUNDING


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", [1, 2, 23])
def test_an_image_of_any_size_is_enlarged(tmp_path: Path, variant: str, side: int) -> None:
    image = CanonicalImage(np.full((side, 2 * side + 1, 3), 128, np.uint8))
    size = Size(4 * side + 2, 2 * side)
    result = Enlargement(image, size, saved(tmp_path, variant)).run(lambda done, of: None)
    assert result.pixels.shape == (2 * side, 4 * side + 2, 3)


@pytest.mark.parametrize("variant", ["swinir pixelshuffle", "hat", "dat standing"])
def test_tiles_equal_the_whole_but_for_what_depends_on_all_pixels(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAT and DAT weigh channels by their means, and those of DAT attend to each other. Here the weights are constant,
    and the channels attend to all alike. The size of the image is no multiple of a window."""
    monkeypatch.setattr(network_upscaler, "MAX_OUTPUT_SIDE", 192)
    constant = ("attention.3.weight", "channel_interaction.4.weight", "temperature")
    weights = tiny.transformer(variant)
    weights |= {name: np.zeros_like(tensor) for name, tensor in weights.items() if name.endswith(constant)}
    photo = np.ascontiguousarray(data.astronaut()[100:231, 180:303])
    upscaler = saved(tmp_path, variant, weights)
    work = Enlargement(CanonicalImage(photo), Size(246, 262), upscaler)
    assert len(work.tiles) == 6
    whole = enlarge_padded(upscaler, np.divide(photo, 255, dtype=np.float32), lambda: None)
    tiled = work.run(lambda done, of: None).pixels
    assert np.abs(np.rint(whole.clip(0, 1) * 255) - tiled).max() <= 1


def test_windows_are_computed_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inpainting.upscalers.networks import super_resolution

    upscaler = saved(tmp_path, VARIANTS[0])
    together = enlarged(upscaler)
    monkeypatch.setattr(super_resolution, "MAX_SCORES", 1)
    assert np.abs(enlarged(upscaler) - together).max() < 1e-5


def without(weights: dict[str, Any], *parts: str) -> dict[str, Any]:
    return {name: tensor for name, tensor in weights.items() if not any(part in name for part in parts)}


OVERLAP = "layers.0.residual_group.overlap_attn.relative_position_bias_table"
HAT = tiny.transformer("hat")
DAT = tiny.transformer("dat")
INDEX = "layers.0.blocks.0.attn.attns.0.relative_position_index"
PLACES = "layers.0.blocks.0.attn.attns.0.rpe_biases"
SHUFFLE = tiny.transformer("swinir pixelshuffle")
CLEANER = without(SHUFFLE, "upsample") | {"conv_last.weight": np.zeros((3, 16, 3, 3), np.float32)}


@pytest.mark.parametrize(
    ("variant", "weights", "message"),
    [
        ("swinir pixelshuffle", CLEANER, "it cleans images, of noise or of traces of JPEG, and does not enlarge them"),
        (
            "swinir pixelshuffle",
            {**SHUFFLE, "upsample.0.weight": np.zeros((64, 64, 3, 3), np.float32)},
            "it enlarges 1 times, not 2, 3, 4, 8",
        ),
        (
            "swinir pixelshuffle",
            {**SHUFFLE, "conv_first.weight": np.zeros((16, 1, 3, 3), np.float32)},
            "it takes 1 channels, not those of RGB",
        ),
        ("swinir pixelshuffle", without(SHUFFLE, "bias_table"), r"its tables of relative positions are \[\(\)"),
        ("swinir pixelshuffle", without(SHUFFLE, "blocks.1.mlp.fc2.bias"), "blocks.1.mlp.fc2.bias is None"),
        ("swinir pixelshuffle", without(SHUFFLE, "layers"), "it has 0 groups of blocks"),
        ("swinir pixelshuffle", {**SHUFFLE, "absolute_pos_embed": np.zeros((1, 4, 16), np.float32)}, "absolute_pos"),
        ("swinir pixelshuffle", tiny.rrdbnet(), "it has 0 groups of blocks"),
        ("swinir pixelshuffle", tiny.transformer("hat"), "conv_block.cab.0.bias is"),
        ("hat", SHUFFLE, "it has no layers.0.residual_group.blocks.0.conv_block.cab.0.weight"),
        ("hat", without(HAT, "norm.weight"), "norm.weight is None"),
        ("hat", without(HAT, "upsample"), "it cleans images"),
        ("hat", {**HAT, OVERLAP: np.zeros((100, 2), np.float32)}, "its windows of 4 pixels attend to 7"),
        ("dat", SHUFFLE, "it has 0 groups of blocks"),
        ("dat", without(DAT, INDEX), f"it has no {INDEX}"),
        ("dat", {**DAT, INDEX: np.zeros((9, 9), np.int64)}, "its windows have 9 pixels, at 21 places to each other"),
        ("dat", without(DAT, "temperature"), "temperature is None"),
        ("dat", without(DAT, "upsample"), "it cleans images"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path: Path, variant: str, weights: Any, message: str) -> None:
    with pytest.raises(EngineFailed, match=message) as caught:
        _ = saved(tmp_path, variant, weights).tiling
    assert caught.value.code == "model_refused"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv_first.weight", (1024, 3, 3, 3)),
        ("layers.0.residual_group.blocks.99999999.norm1.weight", (1,)),
        ("layers.99999999.residual_group.blocks.0.norm1.weight", (1,)),
        ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", (1001**2, 2)),
        ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", (49, 3)),
        ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", (49, 0)),
        ("layers.0.residual_group.blocks.0.mlp.fc1.weight", ()),
        ("conv_before_upsample.0.weight", (0, 16, 3, 3)),
        ("upsample.0.weight", ()),
    ],
)
def test_sizes_that_no_network_has_are_refused(name: str, shape: tuple[int, ...]) -> None:
    from inpainting.families.swinir import swinir_shapes, swinir_sizes

    _, sizes = tiny.TRANSFORMERS["swinir pixelshuffle"]
    with pytest.raises(ValueError, match=r"its? "):
        swinir_sizes({**swinir_shapes(sizes), name: shape})


def test_windows_of_other_sides_than_their_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"the last place of its windows is \[3.0, 3.0\]") as caught:
        _ = saved(tmp_path, "dat", {**DAT, PLACES: np.full((21, 2), 3, np.float32)}).tiling
    assert caught.value.code == "model_unavailable"


def test_the_layers_that_enlarge_are_those_of_the_published_networks() -> None:
    steps = {scale: Reconstruction(8, Upsampler.PIXELSHUFFLE, 8, scale, 1).steps for scale in (2, 3, 4, 8)}
    assert steps == {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
