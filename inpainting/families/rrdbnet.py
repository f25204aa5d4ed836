"""RRDBNet, the network of ESRGAN (X. Wang et al., ECCV Workshops 2018) and Real-ESRGAN (ICCV Workshops 2021)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import WeightsLayout, refuse_other_shapes

Shapes = Mapping[str, tuple[int, ...]]
COLOURS = 3
MAX_BLOCKS, MAX_FEATURES = 64, 256
"""The published ones have 23 blocks and 64 features; larger ones would take minutes for a tile."""
MAX_SIDE = 512
"""Features along a tile with its margins; `docs/measured.md` has the memory that it takes."""
OTHER_NAMES = (
    (r"\Amodel\.0\.(weight|bias)\Z", r"conv_first.\1"),
    (r"\Amodel\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)\Z", r"body.\1.rdb\2.conv\3.\4"),
    (r"\Amodel\.1\.sub\.\d+\.(weight|bias)\Z", r"conv_body.\1"),
    (r"\ARRDB_trunk\.(\d+)\.RDB(\d)\.conv(\d)\.(weight|bias)\Z", r"body.\1.rdb\2.conv\3.\4"),
    (r"\Atrunk_conv\.(weight|bias)\Z", r"conv_body.\1"),
    (r"\Aupconv(\d)\.(weight|bias)\Z", r"conv_up\1.\2"),
    (r"\AHRconv\.(weight|bias)\Z", r"conv_hr.\1"),
)
"""Names of tensors of ESRGAN (github.com/xinntao/ESRGAN, the first version, then the second, which BSRGAN has too) ->
those of Real-ESRGAN. What follows the blocks in the first is numbered, see `own_names`."""
NUMBERED = re.compile(r"\Amodel\.(\d+)\.(weight|bias)\Z")


@dataclass(frozen=True, slots=True)
class RRDBNetSizes:
    """The sizes of an RRDBNet."""

    features: int
    growth: int
    blocks: int
    doublings: int
    """How often it doubles the sides."""
    unshuffle: int
    """The sides are divided by this before all else, and the pixels become channels."""

    @property
    def scale(self) -> int:
        """How much larger the sides of its output are."""
        return 2**self.doublings // self.unshuffle


def own_names(names: Mapping[str, object]) -> dict[str, str]:
    """Return the names of a file's tensors -> those of Real-ESRGAN."""
    after = sorted({int(match[1]) for name in names if (match := NUMBERED.match(name)) and int(match[1]) > 1})
    last = [f"conv_up{number}" for number in range(1, len(after) - 1)] + ["conv_hr", "conv_last"]
    numbered = {f"model.{number}": name for number, name in zip(after, last[-len(after) :], strict=False)}
    found = {}
    for name in names:
        layer, _, kind = name.rpartition(".")
        renamed = f"{numbered[layer]}.{kind}" if layer in numbered else name
        for pattern, replacement in OTHER_NAMES:
            renamed = re.sub(pattern, replacement, renamed)
        found[name] = renamed
    return found


def rrdbnet_sizes(shapes: Shapes) -> RRDBNetSizes:
    """Return the sizes of the network whose tensors have these shapes. Raises ValueError for those of another one."""
    own = {new: shapes[name] for name, new in own_names(shapes).items()}
    first, inner = own.get("conv_first.weight"), own.get("body.0.rdb1.conv1.weight")
    if first is None or inner is None or len(first) != 4 or len(inner) != 4:
        raise ValueError("it has no conv_first and no body of dense blocks")
    features, channels = first[:2]
    unshuffle = math.isqrt(channels // COLOURS)
    blocks = 1 + max(int(match[1]) for name in own if (match := re.match(r"body\.(\d+)\.", name)))
    doublings = sum(bool(re.match(r"conv_up\d\.weight\Z", name)) for name in own)
    sizes = RRDBNetSizes(features, inner[0], blocks, doublings, max(1, unshuffle))
    if channels != COLOURS * unshuffle**2:
        raise ValueError(f"it takes {channels} channels, not those of RGB")
    if blocks > MAX_BLOCKS or max(features, sizes.growth) > MAX_FEATURES:
        raise ValueError(f"it has {blocks} blocks of {features} features")
    if sizes.scale not in (2, 4, 8) or sizes.scale * unshuffle != 2**doublings:
        raise ValueError(f"it doubles the sides {doublings} times and takes {channels} channels")
    refuse_other_shapes(own, rrdbnet_shapes(sizes))
    return sizes


def rrdbnet_shapes(sizes: RRDBNetSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a network of these sizes, in the order in which they compute."""
    features, growth = sizes.features, sizes.growth
    channels = {"conv_first": (COLOURS * sizes.unshuffle**2, features)}
    for block in range(sizes.blocks):
        for dense in range(1, 4):
            for layer in range(1, 6):
                inputs = features + (layer - 1) * growth
                channels[f"body.{block}.rdb{dense}.conv{layer}"] = inputs, growth if layer < 5 else features
    channels["conv_body"] = features, features
    channels |= {f"conv_up{number}": (features, features) for number in range(1, sizes.doublings + 1)}
    channels |= {"conv_hr": (features, features), "conv_last": (features, COLOURS)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs) in channels.items():
        shapes |= {f"{name}.weight": (outputs, inputs, 3, 3), f"{name}.bias": (outputs,)}
    return shapes


RRDBNET = register(
    ModelFamily(
        name="rrdbnet",
        label="ESRGAN",
        engine=UPSCALING,
        layout=WeightsLayout(
            rrdbnet_sizes,
            max_side=lambda sizes: MAX_SIDE * sizes.unshuffle,
            multiple=lambda sizes: sizes.unshuffle,
        ),
        implementation="inpainting.upscalers.networks.rrdbnet:RRDBNET",
    )
)
