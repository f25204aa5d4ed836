"""Files of published models that are known by their tensors and never added.

The names are those of the publishers' code; diffusers lists many of them (`loaders/single_file_utils.py`,
`CHECKPOINT_KEY_NAMES`).
"""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.core.sentences import sentence

NOT_SUPPORTED = sentence("which is not supported.")
AS_FOLDER = sentence("which is added as a folder in diffusers' layout: take that, or the file for ComfyUI.")
IN_ONNX = sentence("which is taken in ONNX alone.")
TAKEN = ""
"""In place of a reason, for files that a later row fits too and a family takes."""
IN = r"\A(model\.diffusion_model\.|diffusion_model\.|model\.|net\.)?"
"""Prefixes of the names of a transformer's tensors."""
ENCODER = r"\A(model\.)?(language_model\.)?"
"""Prefixes of the names of a language model's tensors."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A kind of file."""

    label: str
    """What it is, in a sentence."""
    tensors: tuple[str, ...]
    """Patterns of names; for each the file holds a tensor."""
    inputs: int = 0
    """The last side of a tensor of the last pattern; 0 for any."""
    reason: str = NOT_SUPPORTED
    """The end of the sentence; TAKEN where it is not refused."""


KNOWN_FILES = (
    # Transformers
    KnownFile(
        sentence("the transformer of {model} as one file", model="FLUX.2 [dev]"),
        (IN + r"single_stream_modulation\.lin\.weight\Z",),
        6144,
    ),
    KnownFile(
        sentence("a transformer of {model} with the names of diffusers", model="FLUX.2"),
        (IN + r"double_stream_modulation_img\.linear\.",),
        reason=AS_FOLDER,
    ),
    KnownFile(
        sentence("a transformer of {model} with the names of diffusers", model="Z-Image"),
        (IN + r"noise_refiner\.\d+\.attention\.to_q\.", IN + r"cap_pad_token\Z"),
        reason=AS_FOLDER,
    ),
    KnownFile(
        sentence("a transformer of {model} with the names of diffusers", model="Chroma"),
        (IN + r"distilled_guidance_layer\.layers\.0\.linear_1\.",),
        reason=AS_FOLDER,
    ),
    KnownFile(sentence("a transformer of {model}", model="HiDream"), (IN + r"double_stream_blocks\.\d+\.",)),
    KnownFile(sentence("a transformer of {model}", model="HunyuanVideo"), (r"individual_token_refiner\.",)),
    KnownFile(sentence("a transformer of {model}", model="LTX-Video"), (IN + r"patchify_proj\.",)),
    KnownFile(sentence("a transformer of {model}", model="Wan"), (IN + r"head\.modulation\Z",)),
    KnownFile(sentence("a transformer of {model}", model="AuraFlow"), (IN + r"double_layers\.0\.attn\.w1q\.",)),
    KnownFile(sentence("a transformer of {model}", model="Mochi"), (IN + r"blocks\.0\.attn\.qkv_x\.",)),
    KnownFile(
        sentence("a transformer of {model} or of a model with its architecture", model="Cosmos"),
        (IN + r"x_embedder\.proj\.1\.",),
    ),
    KnownFile(sentence("a transformer of {model}", model="Sana"), (IN + r"blocks\.0\.cross_attn\.kv_linear\.",)),
    KnownFile(sentence("a transformer of {model}", model="Krea 2"), (IN + r"txtfusion\.",)),
    KnownFile(
        sentence("a part of {model}", model="Stable Cascade"),
        (IN + r"(clip_txt_mapper|down_blocks\.1\.0\.channelwise\.0)\.",),
    ),
    KnownFile(
        sentence("a transformer of {model}", model="Lumina-Image 2.0"),
        (IN + r"layers\.0\.attention\.qkv\.(weight|qweight)\Z",),
        2304,
    ),
    # ControlNets
    KnownFile(sentence("a ControlNet for {model}", model="Z-Image"), (r"\Acontrol_(all_x_embedder|layers)\b",)),
    KnownFile(
        sentence("a ControlNet for {model}", model="Qwen-Image"),
        (r"\Acontrolnet_(x_embedder|blocks)\.", r"\.img_mod\."),
    ),
    KnownFile(
        sentence("a ControlNet for a transformer, such as those of XLabs"),
        (r"\Acontrolnet_(x_embedder|blocks|single_blocks|mode_embedder)\.",),
    ),
    KnownFile(sentence("a Control-LoRA"), (r"\Alora_controlnet\Z",)),
    KnownFile(sentence("a ControlNet-LLLite"), (r"\Alllite_",)),
    KnownFile(sentence("a T2I-Adapter"), (r"\A(adapter\.)?body\.\d+\.(block1|resnets|in_conv)\b",)),
    KnownFile(sentence("a motion module of {model}", model="AnimateDiff"), (r"motion_modules\.",)),
    # Upscalers
    KnownFile(
        sentence("a network of {model}", model="Swin2SR"),
        (r"\Alayers\.0\.residual_group\.blocks\.0\.attn\.logit_scale\Z",),
        reason=IN_ONNX,
    ),
    KnownFile(
        sentence("a network of {model}", model="SRFormer"),
        (r"\Alayers\.0\.residual_group\.blocks\.0\.attn\.kv\.weight\Z",),
        reason=IN_ONNX,
    ),
    KnownFile(sentence("a network of {model}", model="DRCT"), (r"\Alayers\.0\.swin1\.attn\.",), reason=IN_ONNX),
    KnownFile(
        sentence("a network of {model}", model="ATD"),
        (r"\Alayers\.0\.residual_group\.layers\.0\.attn_win\.",),
        reason=IN_ONNX,
    ),
    KnownFile(
        sentence("a network of {model}", model="RGT"),
        (r"\Abefore_RG\.1\.weight\Z", r"\Alayers\.0\.blocks\.0\.gamma\Z"),
        reason=IN_ONNX,
    ),
    # A network of a pipeline
    KnownFile(
        sentence("a UNet alone"),
        (r"\Aup_blocks\.", r"\Adown_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.\d+\.attn2\.to_k\.weight\Z"),
        reason=sentence(
            "without text encoders and VAE: take a checkpoint with all of them, or a folder in diffusers' layout."
        ),
    ),
    # Text encoders
    *(
        KnownFile(
            name,
            (ENCODER + r"layers\.0\.self_attn\.q_norm\.", ENCODER + r"embed_tokens\.weight\Z"),
            width,
            reason=TAKEN,
        )
        for name, width in (("Qwen3-4B", 2560), ("Qwen3-8B", 4096))
    ),
    KnownFile("Qwen2.5-VL", (r"\A(model\.)?visual\.", ENCODER + r"embed_tokens\.weight\Z"), 3584, reason=TAKEN),
    KnownFile(
        sentence("{name}, the text encoder of {model}", name="Mistral Small 3", model="FLUX.2 [dev]"),
        (ENCODER + r"embed_tokens\.weight\Z",),
        5120,
    ),
    KnownFile(sentence("a language model"), (ENCODER + r"(embed_tokens|layers\.0\.self_attn\.q_proj)\.",)),
    KnownFile(
        sentence("{name}, the text encoder of {model}", name="umT5", model="Wan"),
        # T5 has these in its first block alone.
        (r"\A(encoder\.)?block\.1\.layer\.0\.SelfAttention\.relative_attention_bias\.",),
    ),
)
"""The first that fits is meant."""

OTHER_LORAS = {
    r"\Adiffusion_model\.blocks\.\d+\.(self_attn|cross_attn|ffn)|\Alora_unet_blocks_\d+_(self|cross)_attn": "Wan",
    r"joint_(transformer_)?blocks[._]\d": "Stable Diffusion 3",
    r"double_stream_blocks[._]\d": "HiDream",
}
"""Pattern of the names of tensors of a LoRA -> the model, of no family, that it is for."""
