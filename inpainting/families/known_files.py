"""Files of published models that are known by their tensors and never added.

The names are those of the publishers' code; diffusers lists many of them (`loaders/single_file_utils.py`,
`CHECKPOINT_KEY_NAMES`).
"""

from __future__ import annotations

from dataclasses import dataclass

NOT_SUPPORTED = "which is not supported."
AS_FOLDER = "which is added as a folder in diffusers' layout: take that, or the file for ComfyUI."
IN_ONNX = "which is taken in ONNX alone."
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
    KnownFile("the transformer of FLUX.2 [dev] as one file", (IN + r"single_stream_modulation\.lin\.weight\Z",), 6144),
    KnownFile(
        "a transformer of FLUX.2 with the names of diffusers",
        (IN + r"double_stream_modulation_img\.linear\.",),
        reason=AS_FOLDER,
    ),
    KnownFile(
        "a transformer of Z-Image with the names of diffusers",
        (IN + r"noise_refiner\.\d+\.attention\.to_q\.", IN + r"cap_pad_token\Z"),
        reason=AS_FOLDER,
    ),
    KnownFile(
        "a transformer of Chroma with the names of diffusers",
        (IN + r"distilled_guidance_layer\.layers\.0\.linear_1\.",),
        reason=AS_FOLDER,
    ),
    KnownFile("a transformer of HiDream", (IN + r"double_stream_blocks\.\d+\.",)),
    KnownFile("a transformer of HunyuanVideo", (r"individual_token_refiner\.",)),
    KnownFile("a transformer of LTX-Video", (IN + r"patchify_proj\.",)),
    KnownFile("a transformer of Wan", (IN + r"head\.modulation\Z",)),
    KnownFile("a transformer of AuraFlow", (IN + r"double_layers\.0\.attn\.w1q\.",)),
    KnownFile("a transformer of Mochi", (IN + r"blocks\.0\.attn\.qkv_x\.",)),
    KnownFile("a transformer of Cosmos or of a model with its architecture", (IN + r"x_embedder\.proj\.1\.",)),
    KnownFile("a transformer of Sana", (IN + r"blocks\.0\.cross_attn\.kv_linear\.",)),
    KnownFile("a transformer of Krea 2", (IN + r"txtfusion\.",)),
    KnownFile("a part of Stable Cascade", (IN + r"(clip_txt_mapper|down_blocks\.1\.0\.channelwise\.0)\.",)),
    KnownFile("a transformer of Lumina-Image 2.0", (IN + r"layers\.0\.attention\.qkv\.(weight|qweight)\Z",), 2304),
    # ControlNets
    KnownFile("a ControlNet for Z-Image", (r"\Acontrol_(all_x_embedder|layers)\b",)),
    KnownFile("a ControlNet for Qwen-Image", (r"\Acontrolnet_(x_embedder|blocks)\.", r"\.img_mod\.")),
    KnownFile(
        "a ControlNet for a transformer, such as those of XLabs",
        (r"\Acontrolnet_(x_embedder|blocks|single_blocks|mode_embedder)\.",),
    ),
    KnownFile("a Control-LoRA", (r"\Alora_controlnet\Z",)),
    KnownFile("a ControlNet-LLLite", (r"\Alllite_",)),
    KnownFile("a T2I-Adapter", (r"\A(adapter\.)?body\.\d+\.(block1|resnets|in_conv)\b",)),
    KnownFile("a motion module of AnimateDiff", (r"motion_modules\.",)),
    # Upscalers
    KnownFile(
        "a network of Swin2SR", (r"\Alayers\.0\.residual_group\.blocks\.0\.attn\.logit_scale\Z",), reason=IN_ONNX
    ),
    KnownFile(
        "a network of SRFormer",
        (r"\Alayers\.0\.residual_group\.blocks\.0\.attn\.kv\.weight\Z",),
        reason=IN_ONNX,
    ),
    KnownFile("a network of DRCT", (r"\Alayers\.0\.swin1\.attn\.",), reason=IN_ONNX),
    KnownFile("a network of ATD", (r"\Alayers\.0\.residual_group\.layers\.0\.attn_win\.",), reason=IN_ONNX),
    KnownFile("a network of RGT", (r"\Abefore_RG\.1\.weight\Z", r"\Alayers\.0\.blocks\.0\.gamma\Z"), reason=IN_ONNX),
    # A network of a pipeline
    KnownFile(
        "a UNet alone",
        (r"\Aup_blocks\.", r"\Adown_blocks\.\d+\.attentions\.\d+\.transformer_blocks\.\d+\.attn2\.to_k\.weight\Z"),
        reason="without text encoders and VAE: take a checkpoint with all of them, or a folder in diffusers' layout.",
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
    KnownFile("Mistral Small 3, the text encoder of FLUX.2 [dev]", (ENCODER + r"embed_tokens\.weight\Z",), 5120),
    KnownFile("a language model", (ENCODER + r"(embed_tokens|layers\.0\.self_attn\.q_proj)\.",)),
    KnownFile(
        "umT5, the text encoder of Wan",
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
