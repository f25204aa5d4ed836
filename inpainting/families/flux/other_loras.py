"""LoRAs of other models whose layers have the names of FLUX.1's: FLUX.2, Chroma and HunyuanVideo.

FLUX.2 [klein] 4B is as wide as FLUX.1, so that a LoRA of its attention would change FLUX.1 without an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from inpainting.catalog.inspection.lora_layers import Shape, input_width, output_width
from inpainting.core.sentences import sentence
from inpainting.families.flux.declaration import LORAS

KLEIN, CHROMA, HUNYUAN = "FLUX.2 [klein]", "Chroma", "HunyuanVideo"
MORE_BLOCKS = sentence("a model of more blocks than FLUX.1 has, such as {model}", model=HUNYUAN)
BASE_MODELS = {
    r"klein": KLEIN,
    r"flux[-_. ]?2": "FLUX.2",
    r"chroma": CHROMA,
    r"hunyuan": HUNYUAN,
}
"""Pattern of the names of base models in metadata -> the model."""
OWN_LAYERS = {
    # In diffusers' names, those of the original and those of kohya-ss.
    r"to_qkv_mlp_proj|(double|single)_stream_modulation|ff(_context)?[._]linear_(in|out)|time_guidance_embed": "FLUX.2",
    r"distilled_guidance_layer": CHROMA,
    r"double_blocks\.\d+\.(img|txt)_(attn_|mlp\.fc|mod\.linear)|individual_token_refiner": HUNYUAN,
}
"""Pattern of a layer's path that FLUX.1 does not have -> the model that has it."""
PREFIX = r"\A(?:base_model\.model\.)?(?:transformer\.|diffusion_model\.|lora_(?:unet|transformer)_|lycoris_)?"
BLOCK = re.compile(rf"{PREFIX}(?P<kind>double|single)_blocks[._](?P<number>\d+)[._](?P<layer>.+)")
DIFFUSERS_BLOCK = re.compile(rf"{PREFIX}(?P<kind>single_|)transformer_blocks[._](?P<number>\d+)[._](?P<layer>.+)")
RATIOS = {
    "linear1": (9, 1),
    "linear2": (1, 4),
    **dict.fromkeys(("img_mlp.0", "txt_mlp.0"), (6, 1)),
    **dict.fromkeys(("img_mlp.2", "txt_mlp.2"), (1, 3)),
}
"""Layer of FLUX.2 -> its outputs to its inputs. Its MLP has a gate and is three times as wide as the model; FLUX.1's
has none and is four times as wide, so that these are 7 to 1, 1 to 5, 4 to 1 and 1 to 4."""
ATTENTION = re.compile(r"(img|txt)_attn\.(qkv|proj)|attn[._](to_[qkv]|add_[qkv]_proj)")
WIDTHS = {4096: f"{KLEIN} 9B", 6144: "FLUX.2 [dev]"}
"""Inputs of an attention layer of other models; FLUX.1 and FLUX.2 [klein] 4B have 3072."""
DOUBLE_BLOCKS, SINGLE_BLOCKS = 19, 38
"""Of FLUX.1."""
KLEIN_BLOCKS = frozenset(range(5)), frozenset(range(20))
"""The numbers of the double and the single blocks of FLUX.2 [klein] 4B."""


def other_model(layers: Mapping[str, Mapping[str, Shape]], base_models: str) -> str:
    """Return the name of the other model that a LoRA is for, as `LoraSupport.other_model` describes.

    Two things are not told from the layers: Chroma from FLUX.1 [schnell], from which it was trained, by a LoRA of its
    attention; and FLUX.1 from FLUX.2 [klein] 4B by one of the attention of the first five double blocks alone, which is
    taken for the latter. The metadata tells, if it names the model.
    """
    for pattern, model in OWN_LAYERS.items():
        if any(re.search(pattern, path) for path in layers):
            return model
    if model := next((model for pattern, model in BASE_MODELS.items() if re.search(pattern, base_models)), ""):
        return model
    double: set[int] = set()
    single: set[int] = set()
    for path, shapes in layers.items():
        found = BLOCK.match(path) or DIFFUSERS_BLOCK.match(path)
        if found is None:
            continue
        (single if found["kind"].startswith("single") else double).add(int(found["number"]))
        layer = re.sub(r"(attn|mlp)_", r"\1.", found["layer"], count=1)
        inputs, outputs = input_width(shapes) or 0, output_width(shapes) or 0
        more, less = RATIOS.get(layer, (0, 0))
        is_flux_2 = more and inputs and outputs * less == inputs * more
        if is_flux_2 or (ATTENTION.fullmatch(layer) and inputs in WIDTHS):
            return WIDTHS.get(inputs, KLEIN)
    if max(double, default=0) >= DOUBLE_BLOCKS or max(single, default=0) >= SINGLE_BLOCKS:
        return MORE_BLOCKS
    is_klein = double == KLEIN_BLOCKS[0] and single in (set(), KLEIN_BLOCKS[1])
    return KLEIN if is_klein and not re.search(LORAS.base_models, base_models) else ""
