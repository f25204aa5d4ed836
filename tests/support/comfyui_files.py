"""The models folder of a ComfyUI installation: published files by their places, each with the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inpainting.families.rrdbnet import rrdbnet_shapes
from tests.support import tiny_networks, tiny_upscalers
from tests.support.published_headers import (
    Shape,
    Tensors,
    blocks,
    checkpoint,
    chroma,
    clip_text,
    flux,
    flux_2,
    layers_of,
    lokr,
    lora,
    nvfp4,
    qwen_image,
    scaled,
    tensors,
    unet,
    vae,
    weights,
    write_gguf,
    write_sparse,
    z_image,
)

FLUX_2 = {"dev": (6144, 8, 48, 15360), "klein-4b": (3072, 5, 20, 7680), "klein-9b": (4096, 8, 24, 12288)}
DIT = "diffusion_models/"
ENCODERS = "text_encoders/"


def one(name: str, *shape: int, dtype: str = "F16") -> Tensors:
    return {name: (dtype, shape)}


def t5(dtype: str = "F16", width: int = 4096, name: str = "encoder.final_layer_norm.weight") -> Tensors:
    return one(name, width, dtype=dtype) | one("shared.weight", 32128, width, dtype=dtype)


def qwen_text(width: int, *, has_norms: bool, dtype: str = "BF16") -> Tensors:
    layers: dict[str, Shape] = {"model.embed_tokens": (151936, width), "model.layers.0.self_attn.q_proj": (4096, width)}
    found = weights(layers, dtype)
    if has_norms:
        found |= one("model.layers.0.self_attn.q_norm.weight", 128)
    return found


def clip_vision(width: int, projection: int, patch: int = 14) -> Tensors:
    shapes: dict[str, Shape] = {
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.encoder.layers.0.self_attn.q_proj.weight": (width, width),
        "visual_projection.weight": (projection, width),
    }
    return tensors(shapes, "F16")


def siglip_vision(patches: int = 729) -> Tensors:
    """The image encoder of SigLIP: a position for each patch, and no projection."""
    shapes: dict[str, Shape] = {
        "vision_model.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (patches, 1152),
        "vision_model.head.probe": (1, 1, 1152),
    }
    return tensors(shapes, "F16")


def redux() -> Tensors:
    shapes: dict[str, Shape] = {"redux_up.bias": (12288,), "redux_down.bias": (4096,)}
    return weights({"redux_up": (12288, 1152), "redux_down": (4096, 12288)}) | tensors(shapes)


def z_image_fun(layers: int, channels: int) -> Tensors:
    """A ControlNet of Z-Image-Fun, with channels of its control image's latents."""
    shapes: dict[str, Shape] = {"control_all_x_embedder.2-1.weight": (3840, 4 * channels)}
    for part, count in (("control_layers", layers), ("control_noise_refiner", 2)):
        shapes |= blocks(part, count, {"attention.norm_q.weight": (128,), "attention.to_q.weight": (3840, 3840)})
        if channels > 16 or part == "control_layers":
            shapes[f"{part}.0.before_proj.weight"] = (3840, 3840)
    return tensors(shapes, "BF16")


def qwen_controlnet(channels: int) -> Tensors:
    """A ControlNet for Qwen-Image, with channels of its control image's tokens."""
    layers: dict[str, Shape] = {"img_mod.1.weight": (18432, 3072), "attn.norm_q.weight": (128,)}
    shapes: dict[str, Shape] = {
        "controlnet_x_embedder.weight": (3072, channels),
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 3584),
    }
    shapes |= blocks("controlnet_blocks", 5, {"weight": (3072, 3072)}) | blocks("transformer_blocks", 5, layers)
    return tensors(shapes, "BF16")


def flux_controlnet(channels: int, *, double: int = 6, single: int = 0, modes: int = 0) -> Tensors:
    """A ControlNet for FLUX.1, with channels of its control image's tokens. modes: of a Union that embeds each."""
    shapes: dict[str, Shape] = {
        "controlnet_x_embedder.weight": (3072, channels),
        "x_embedder.weight": (3072, 64),
        "context_embedder.weight": (3072, 4096),
        "time_text_embed.text_embedder.linear_1.weight": (3072, 768),
        "time_text_embed.guidance_embedder.linear_1.weight": (3072, 256),
    }
    layers: dict[str, Shape] = {"attn.norm_q.weight": (128,), "attn.to_q.weight": (3072, 3072)}
    for name, count in (("", double), ("single_", single)):
        shapes |= blocks(f"controlnet_{name}blocks", count, {"weight": (3072, 3072)})
        shapes |= blocks(f"{name}transformer_blocks", count, layers)
    return tensors(shapes | ({"controlnet_mode_embedder.weight": (modes, 3072)} if modes else {}), "BF16")


def sd3_controlnet() -> Tensors:
    """One of Stability AI's for Stable Diffusion 3.5 Large, in the publisher's names."""
    width = 2432
    layer: dict[str, Shape] = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    layer |= {"mlp.fc1": (4 * width, width), "adaLN_modulation.1": (6 * width, width)}
    layers: dict[str, Shape] = {"time_text_embed.text_embedder.linear_1": (width, 2048)}
    layers |= {f"controlnet_blocks.{block}": (width, width) for block in range(19)}
    found = weights(layers | blocks("transformer_blocks", 19, layer), "F32")
    return found | one("pos_embed_input.proj.weight", width, 16, 2, 2, dtype="F32") | one("control_type", dtype="I64")


def sd3_controlnet_of_diffusers(channels: int) -> Tensors:
    """One for Stable Diffusion 3 in the names of diffusers, with channels of its control image's latents."""
    width = 1536
    layers: dict[str, Shape] = {
        "time_text_embed.text_embedder.linear_1": (width, 2048),
        "context_embedder": (width, 4096),
        **{f"controlnet_blocks.{block}": (width, width) for block in range(23)},
        **blocks("transformer_blocks", 23, {"attn.to_q": (width, width)}),
    }
    found = weights(layers, "F16") | one("pos_embed.pos_embed", 1, 192 * 192, width)
    return found | one("pos_embed_input.proj.weight", width, channels, 2, 2)


def sd3(
    layers: int, positions: int, dual: int = 0, *, prefix: str = "model.diffusion_model.", dtype: str = "F16"
) -> Tensors:
    """The transformer of Stable Diffusion 3.5 and its VAE.

    positions: along each side. dual: layers that attend twice.
    """
    width = 64 * layers
    layer: dict[str, Shape] = {"attn.qkv.weight": (3 * width, width), "attn.ln_q.weight": (64,)}
    twice: dict[str, Shape] = {"x_block.attn2.qkv.weight": (3 * width, width)}
    shapes: dict[str, Shape] = {
        "pos_embed": (1, positions**2, width),
        "x_embedder.proj.weight": (width, 16, 2, 2),
        "context_embedder.weight": (width, 4096),
        "y_embedder.mlp.0.weight": (width, 2048),
        "final_layer.linear.weight": (64, width),
        **blocks("joint_blocks", layers, {f"x_block.{name}": shape for name, shape in layer.items()}),
        **blocks("joint_blocks", layers, {f"context_block.{name}": shape for name, shape in layer.items()}),
        **blocks("joint_blocks", dual, twice),
    }
    return tensors(shapes, dtype, prefix=prefix) | vae(16, prefix="first_stage_model.")


def ip_adapter(features: int, projection: dict[str, Shape]) -> Tensors:
    layers = {f"ip_adapter.{number}.to_{name}_ip": (640, features) for number in (1, 3) for name in ("k", "v")}
    return weights(layers, "F16") | tensors(projection, "F16", prefix="image_proj.")


def plus(features: int, encoder: int) -> Tensors:
    width = 1280 if features == 2048 else 768
    return ip_adapter(features, {"latents": (1, 16, width), "proj_in.weight": (width, encoder)})


def plain(features: int, encoder: int) -> Tensors:
    return ip_adapter(features, {"proj.weight": (4 * features, encoder), "norm.weight": (features,)})


def controlnet(features: int) -> Tensors:
    layers = {"input_blocks.1.1.transformer_blocks.0.attn2.to_k": (320, features)}
    return weights(layers, "F16", prefix="control_model.") | one("control_model.input_hint_block.0.weight", 16, 3, 3, 3)


def controlnet_of_diffusers(features: int) -> Tensors:
    layers = {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (640, features)}
    return weights(layers, "F16") | one("controlnet_cond_embedding.conv_in.weight", 16, 3, 3, 3)


def union(features: int) -> Tensors:
    return controlnet_of_diffusers(features) | one("task_embedding", 8, 320)


def svdq() -> Tensors:
    found: Tensors = {}
    for number in range(2):
        stem = f"transformer_blocks.{number}.qkv_proj"
        found |= {f"{stem}.qweight": ("I8", (9216, 1536)), f"{stem}.wscales": ("BF16", (48, 9216))}
        found |= {f"{stem}.smooth_factor": ("BF16", (3072,)), f"{stem}.proj_down": ("BF16", (3072, 32))}
    return found


def nf4() -> Tensors:
    found = {name: tensor for name, tensor in flux().items() if "double_blocks" not in name}
    name = "double_blocks.0.img_attn.qkv.weight"
    found |= {name: ("U8", (14155776, 1)), f"{name}.absmax": ("U8", (442368,))}
    return (
        found
        | {f"{name}.quant_state.bitsandbytes__nf4": ("U8", (90,))}
        | one("double_blocks.0.img_attn.norm.query_norm.scale", 128)
    )


SD_ATTENTION = {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (640, 768)}
SD_SELF = {"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k": (640, 640)}
XL_ATTENTION = {"input_blocks.4.1.transformer_blocks.1.attn2.to_k": (640, 2048)}
FLUX_DOUBLE = layers_of(flux(), containing="double_blocks")
FLUX_ALL = layers_of(flux(), containing="_blocks.")
KLEIN_ALL = layers_of(flux_2(*FLUX_2["klein-4b"]), containing="_blocks.")
KLEIN_ATTENTION = {name: shape for name, shape in KLEIN_ALL.items() if "_attn." in name}
KLEIN_DIFFUSERS: dict[str, Shape] = {
    **blocks("transformer_blocks", 5, {"attn.to_q": (3072, 3072), "ff.linear_in": (18432, 3072)}),
    **blocks("single_transformer_blocks", 20, {"attn.to_qkv_mlp_proj": (27648, 3072)}),
}
Z_FUSED = layers_of(z_image(), containing="attention")
Z_DIFFUSERS: dict[str, Shape] = blocks(
    "layers", 30, {"attention.to_q": (3840, 3840), "attention.to_out.0": (3840, 3840), "feed_forward.w1": (10240, 3840)}
)
QWEN = layers_of(qwen_image(), containing="transformer_blocks")
WAN = blocks("blocks", 2, {"self_attn.q": (5120, 5120), "cross_attn.k": (5120, 5120), "ffn.0": (13824, 5120)})

FILES: dict[str, Callable[[], Tensors]] = {
    # Whole checkpoints
    "checkpoints/sd-v1-5-inpainting.safetensors": lambda: checkpoint(768, 9, dtype="F32"),
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors": lambda: checkpoint(768),
    "checkpoints/512-inpainting-ema.safetensors": lambda: checkpoint(1024, 9),
    "checkpoints/v2-1_768-ema-pruned.safetensors": lambda: checkpoint(1024),
    "checkpoints/sd_xl_base_1.0.safetensors": lambda: checkpoint(2048),
    "checkpoints/juggernautXL_inpainting.safetensors": lambda: checkpoint(2048, 9),
    "checkpoints/noobaiXL_vPred.safetensors": lambda: checkpoint(2048) | one("v_pred", 0) | one("ztsnr", 0),
    "checkpoints/sd_xl_base_fp8.safetensors": lambda: checkpoint(2048, dtype="F8_E4M3"),
    "checkpoints/sd_xl_refiner_1.0.safetensors": lambda: checkpoint(1280),
    "checkpoints/Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors": lambda: unet(2048),
    "checkpoints/instruct-pix2pix-00-22000.safetensors": lambda: checkpoint(768, 8),
    "checkpoints/cosxl_edit.safetensors": lambda: checkpoint(2048, 8) | one("edm_vpred.sigma_max"),
    "checkpoints/sd3.5_large.safetensors": lambda: sd3(38, 192),
    "checkpoints/sd3.5_medium_incl_clips_t5xxlfp8scaled.safetensors": lambda: (
        sd3(24, 384, 13)
        | clip_text(prefix="text_encoders.clip_l.transformer.")
        | clip_text(1280, prefix="text_encoders.clip_g.transformer.")
        | {f"text_encoders.t5xxl.transformer.{name}": tensor for name, tensor in scaled(t5()).items()}
    ),
    "checkpoints/flux1-dev-fp8.safetensors": lambda: (
        flux(prefix="model.diffusion_model.", dtype="F8_E4M3")
        | vae(16, prefix="vae.", dtype="BF16")
        | clip_text(prefix="text_encoders.clip_l.transformer.")
        | one("text_encoders.t5xxl.transformer.encoder.final_layer_norm.weight", 4096)
    ),
    "checkpoints/flux1-fill-dev-all.safetensors": lambda: (
        flux(channels=384, prefix="model.diffusion_model.", dtype="F8_E4M3")
        | vae(16, prefix="vae.", dtype="BF16")
        | clip_text(prefix="text_encoders.clip_l.transformer.")
        | one("text_encoders.t5xxl.transformer.encoder.final_layer_norm.weight", 4096)
    ),
    "checkpoints/z-image-turbo-all.safetensors": lambda: z_image(prefix="model.diffusion_model."),
    "checkpoints/Qwen-Rapid-AIO-v5.safetensors": lambda: qwen_image(prefix="model.diffusion_model.", dtype="F8_E4M3"),
    "checkpoints/big.ckpt": dict,
    # Transformers alone
    f"{DIT}flux1-fill-dev.safetensors": lambda: flux(channels=384),
    f"{DIT}flux1-fill-dev_fp8.safetensors": lambda: flux(channels=384, dtype="F8_E4M3"),
    f"{DIT}flux1-fill-dev_scaled.safetensors": lambda: scaled(flux(channels=384)),
    f"{DIT}flux1-dev.safetensors": flux,
    f"{DIT}flux1-schnell.safetensors": lambda: flux(has_guidance=False),
    f"{DIT}flux1-krea-dev_fp8_scaled.safetensors": lambda: scaled(flux()),
    f"{DIT}flux1-dev-kontext_fp8_scaled.safetensors": lambda: scaled(flux()),
    f"{DIT}my-merge.safetensors": flux,
    f"{DIT}flux1-canny-dev.safetensors": lambda: flux(channels=128),
    f"{DIT}Chroma1-HD.safetensors": chroma,
    f"{DIT}Chroma1-HD-fp8_scaled.safetensors": lambda: scaled(chroma()),
    f"{DIT}flux2_dev_fp8mixed.safetensors": lambda: flux_2(*FLUX_2["dev"], has_guidance=True, dtype="F8_E4M3"),
    f"{DIT}flux-2-klein-4b.safetensors": lambda: flux_2(*FLUX_2["klein-4b"]),
    f"{DIT}flux-2-klein-9b.safetensors": lambda: flux_2(*FLUX_2["klein-9b"]),
    f"{DIT}svdq-int4_r32-flux.1-fill-dev.safetensors": svdq,
    f"{DIT}flux1-fill-dev-nvfp4.safetensors": lambda: nvfp4(flux(channels=384)),
    f"{DIT}flux1-dev-bnb-nf4.safetensors": nf4,
    f"{DIT}z_image_turbo_bf16.safetensors": z_image,
    f"{DIT}z_image_bf16.safetensors": z_image,
    f"{DIT}z_image_turbo_fp8_e4m3fn.safetensors": lambda: z_image(dtype="F8_E4M3"),
    f"{DIT}flux-2-klein-base-4b-fp8.safetensors": lambda: scaled(flux_2(*FLUX_2["klein-4b"])),
    f"{DIT}qwen_image_bf16.safetensors": qwen_image,
    f"{DIT}qwen_image_edit_2511_bf16.safetensors": qwen_image,
    f"{DIT}sd3.5_medium_fp8_scaled.safetensors": lambda: scaled(sd3(24, 384, 13)),
    f"{DIT}z_image_turbo_nvfp4.safetensors": lambda: nvfp4(z_image()),
    f"{DIT}z_image_of_diffusers.safetensors": lambda: (
        one("cap_pad_token", 1, 3840) | weights(blocks("noise_refiner", 2, {"attention.to_q": (3840, 3840)}))
    ),
    f"{DIT}klein_of_diffusers.safetensors": lambda: weights({"double_stream_modulation_img.linear": (18432, 3072)}),
    f"{DIT}qwen_image_fp8_e4m3fn.safetensors": lambda: qwen_image(dtype="F8_E4M3"),
    f"{DIT}qwen_image_edit_2509_fp8_e4m3fn.safetensors": lambda: qwen_image(dtype="F8_E4M3"),
    f"{DIT}wan2.2_t2v_low_noise_14B_fp8.safetensors": lambda: (
        weights(WAN, "F8_E4M3") | one("head.modulation", 1, 2, 5120)
    ),
    f"{DIT}hidream_i1_dev_fp8.safetensors": lambda: one("double_stream_blocks.0.block.adaLN_modulation.1.bias", 30720),
    f"{DIT}hunyuan_video_t2v_720p_bf16.safetensors": lambda: (
        one("txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias", 6144)
        | weights(blocks("double_blocks", 20, {"img_attn_qkv": (9216, 3072)}))
    ),
    f"{DIT}lumina_2.safetensors": lambda: (
        one("cap_embedder.0.weight", 2304) | weights(blocks("layers", 2, {"attention.qkv": (5120, 2304)}))
    ),
    f"{DIT}ltxv-13b-0.9.8.safetensors": lambda: one("patchify_proj.weight", 4096, 128),
    f"{DIT}sd3.5_medium.safetensors": lambda: sd3(24, 384, 13),
    "unet/flux1-fill-dev-Q8_0.gguf": lambda: flux(channels=384),
    "unet/flux1-dev-Q8_0.gguf": flux,
    "unet/Chroma1-HD-Q8_0.gguf": chroma,
    "unet/flux1-kontext-dev-Q8_0.gguf": flux,
    "unet/z_image_turbo-Q8_0.gguf": z_image,
    "unet/flux-2-klein-4b-Q8_0.gguf": lambda: flux_2(*FLUX_2["klein-4b"]),
    "unet/qwen-image-Q8_0.gguf": qwen_image,
    "unet/sd3.5_medium-Q8_0.gguf": lambda: {
        name: of for name, of in sd3(24, 384, 13, prefix="").items() if "first_stage" not in name
    },
    "unet/Qwen-Image-Edit-2509-Q8_0.gguf": qwen_image,
    "unet/sdxl_lightning_4step_unet.safetensors": lambda: (
        one("up_blocks.0.resnets.0.conv1.weight", 1280, 2560, 3, 3)
        | weights({"down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k": (640, 2048)})
    ),
    # Text encoders
    f"{ENCODERS}clip_l.safetensors": clip_text,
    f"{ENCODERS}clip_g.safetensors": lambda: clip_text(1280),
    f"{ENCODERS}t5xxl_fp16.safetensors": t5,
    "clip/t5xxl_fp8_e4m3fn.safetensors": lambda: t5("F8_E4M3"),
    f"{ENCODERS}t5-v1_1-xxl-encoder-Q8_0.gguf": lambda: weights({"enc.blk.0.attn_q": (4096, 4096)}),
    f"{ENCODERS}umt5_xxl_fp8_e4m3fn_scaled.safetensors": lambda: (
        one("shared.weight", 256384, 4096)
        | one("encoder.final_layer_norm.weight", 4096)
        | one("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight", 32, 64)
    ),
    f"{ENCODERS}qwen_3_4b.safetensors": lambda: qwen_text(2560, has_norms=True),
    f"{ENCODERS}qwen_3_8b.safetensors": lambda: qwen_text(4096, has_norms=True),
    f"{ENCODERS}qwen_2.5_vl_7b_fp8_scaled.safetensors": lambda: (
        qwen_text(3584, has_norms=False) | one("visual.patch_embed.proj.weight", 1280, 3, 2, 14, 14)
    ),
    f"{ENCODERS}mistral_3_small_flux2_bf16.safetensors": lambda: weights({"model.embed_tokens": (131072, 5120)}),
    # VAEs
    "vae/ae.safetensors": lambda: vae(16, prefix="", dtype="F32"),
    "vae/sd3_vae.safetensors": lambda: vae(16, prefix=""),
    "vae/sdxl_vae.safetensors": lambda: vae(prefix=""),
    "vae/vae-ft-mse-840000-ema-pruned.safetensors": lambda: vae(prefix=""),
    "vae/clearvae.safetensors": lambda: vae(prefix=""),
    "vae/qwen_image_vae.safetensors": lambda: (
        one("decoder.middle.0.residual.0.gamma", 384, 1, 1, 1) | one("conv2.weight", 16, 16, 1, 1, 1)
    ),
    # Larger than the other, and of the same shapes
    "vae/wan_2.1_vae.safetensors": lambda: (
        one("decoder.middle.0.residual.0.gamma", 384, 1, 1, 1, dtype="F32") | one("conv2.weight", 16, 16, 1, 1, 1)
    ),
    "vae/flux2-vae.safetensors": lambda: vae(32, prefix="") | one("bn.running_mean", 128),
    "vae_approx/taesd_decoder.pth": dict,
    # Image encoders and IP-Adapters
    "clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": lambda: clip_vision(1280, 1024),
    "clip_vision/CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors": lambda: clip_vision(1664, 1280),
    "clip_vision/sigclip_vision_patch14_384.safetensors": siglip_vision,
    "clip_vision/siglip-so400m-patch14-224.safetensors": lambda: siglip_vision(256),
    "ipadapter/ip-adapter_sd15.safetensors": lambda: plain(768, 1024),
    "ipadapter/ip-adapter_sd15_vit-G.safetensors": lambda: plain(768, 1280),
    "ipadapter/ip-adapter-plus_sd15.safetensors": lambda: plus(768, 1280),
    "ipadapter/ip-adapter-full-face_sd15.safetensors": lambda: ip_adapter(
        768, {"proj.0.weight": (1280, 1280), "proj.3.weight": (768,)}
    ),
    "ipadapter/ip-adapter_sdxl.safetensors": lambda: plain(2048, 1280),
    "ipadapter/ip-adapter-plus_sdxl_vit-h.safetensors": lambda: plus(2048, 1280),
    "ipadapter/ip-adapter-faceid_sd15.safetensors": lambda: ip_adapter(768, {"proj.0.weight": (1024, 512)}),
    # ControlNets
    "controlnet/control_v11p_sd15_canny_fp16.safetensors": lambda: controlnet(768),
    "controlnet/control_v11p_sd15_inpaint_fp16.safetensors": lambda: controlnet(768),
    "controlnet/control_v11f1p_sd15_depth_fp16.safetensors": lambda: controlnet(768),
    "controlnet/control_v11p_sd21_canny.safetensors": lambda: controlnet(1024),
    "controlnet/diffusers_xl_depth_full.safetensors": lambda: controlnet_of_diffusers(2048),
    "controlnet/controlnet-union-sdxl-1.0_promax.safetensors": lambda: union(2048),
    "controlnet/Z-Image-Turbo-Fun-Controlnet-Union.safetensors": lambda: z_image_fun(6, 16),
    "model_patches/Z-Image-Turbo-Fun-Controlnet-Union-2.1.safetensors": lambda: z_image_fun(15, 33),
    "model_patches/Z-Image-Turbo-Fun-Controlnet-Tile-2.1-lite-2601-8steps.safetensors": lambda: z_image_fun(3, 33),
    "model_patches/some-controlnet-z-image.safetensors": lambda: z_image_fun(4, 33),
    "controlnet/Qwen-Image-InstantX-ControlNet-Inpainting.safetensors": lambda: qwen_controlnet(68),
    "controlnet/Qwen-Image-InstantX-ControlNet-Union.safetensors": lambda: qwen_controlnet(64),
    "controlnet/some-controlnet-qwen.safetensors": lambda: qwen_controlnet(72),
    "controlnet/FLUX.1-dev-ControlNet-Union-Pro-2.0.safetensors": lambda: flux_controlnet(64),
    "controlnet/FLUX.1-dev-ControlNet-Union-Pro.safetensors": lambda: flux_controlnet(
        64, double=5, single=10, modes=10
    ),
    "controlnet/FLUX.1-dev-ControlNet-Depth.safetensors": lambda: flux_controlnet(64, single=10),
    "controlnet/FLUX.1-dev-Controlnet-Inpainting-Beta.safetensors": lambda: flux_controlnet(68),
    "controlnet/some-controlnet-flux.safetensors": lambda: flux_controlnet(72),
    "controlnet/sd3.5_large_controlnet_blur.safetensors": sd3_controlnet,
    "controlnet/sd3.5_large_controlnet_canny.safetensors": sd3_controlnet,
    "controlnet/sd3.5_large_controlnet_depth.safetensors": sd3_controlnet,
    "controlnet/SD3-Controlnet-Inpainting.safetensors": lambda: sd3_controlnet_of_diffusers(17),
    "controlnet/some-controlnet-sd3.safetensors": lambda: sd3_controlnet_of_diffusers(24),
    "controlnet/flux-controlnet-canny-diffusers.safetensors": lambda: (
        flux_controlnet(64, double=2) | one("input_hint_block.conv_in.weight", 16, 3, 3, 3)
    ),
    "controlnet/flux-canny-controlnet-v3.safetensors": lambda: (
        weights(
            {"controlnet_blocks.0": (3072, 3072), "img_in": (3072, 64)}
            | blocks("double_blocks", 2, {"img_attn.qkv": (9216, 3072)})
        )
        | one("double_blocks.0.img_attn.norm.query_norm.scale", 128)
    ),
    "controlnet/t2iadapter_canny_sd15v2.safetensors": lambda: (
        one("body.0.block1.weight", 320, 320, 3, 3) | one("conv_in.weight", 320, 64, 3, 3)
    ),
    "controlnet/control-lora-canny-rank256.safetensors": lambda: (
        one("lora_controlnet", 0)
        | weights({"input_blocks.1.0.emb_layers.1.up": (320, 256), "input_blocks.1.0.emb_layers.1.down": (256, 1280)})
    ),
    # Others
    "embeddings/easynegative.safetensors": lambda: one("emb_params", 8, 768, dtype="F32"),
    "embeddings/negativeXL_D.safetensors": lambda: one("clip_l", 16, 768) | one("clip_g", 16, 1280),
    "embeddings/sd2-style.safetensors": lambda: one("emb_params", 4, 1024),
    "embeddings/badhandv4.pt": dict,
    "style_models/flux1-redux-dev.safetensors": redux,
    "upscale_models/4x-UltraSharp.safetensors": lambda: tensors(
        tiny_upscalers.with_names_of_esrgan(rrdbnet_shapes(tiny_upscalers.PUBLISHED), tiny_upscalers.PUBLISHED), "F32"
    ),
    "inpaint/big-lama.pt": dict,
    "inpaint/migan_traced.pt": dict,
    "inpaint/MAT_Places512_G_fp16.safetensors": lambda: (
        one("mapping.fc0.weight", 512, 512) | one("synthesis.first_stage.conv_first.conv.weight", 180, 4, 3, 3)
    ),
    # LoRAs
    "loras/sd15-kohya.safetensors": lambda: lora(SD_ATTENTION, prefix="lora_unet_", is_kohya=True),
    "loras/sdxl-kohya.safetensors": lambda: lora(XL_ATTENTION, prefix="lora_unet_", is_kohya=True),
    "loras/sd15-self-attention.safetensors": lambda: lora(SD_SELF, prefix="lora_unet_", is_kohya=True),
    "loras/sdxl-self-attention.safetensors": lambda: lora(SD_SELF, prefix="lora_unet_", is_kohya=True),
    "loras/without-notes.safetensors": lambda: lora(SD_SELF, prefix="lora_unet_", is_kohya=True),
    "loras/flux-kohya.safetensors": lambda: lora(FLUX_ALL, prefix="lora_unet_", is_kohya=True),
    "loras/flux-ai-toolkit.safetensors": lambda: lora(
        blocks("single_transformer_blocks", 38, {"attn.to_q": (3072, 3072), "proj_mlp": (12288, 3072)})
    ),
    "loras/flux-four-blocks.safetensors": lambda: lora(
        {name: shape for name, shape in FLUX_ALL.items() if ".7." in name or ".12." in name}, prefix="diffusion_model."
    ),
    "loras/flux-lycoris.safetensors": lambda: lokr(FLUX_ALL),
    "loras/flux-xlabs.safetensors": lambda: tensors(
        {
            f"double_blocks.{number}.processor.{layer}.{side}.weight": shape
            for number in range(19)
            for layer in ("qkv_lora1", "proj_lora2")
            for side, shape in (("down", (16, 3072)), ("up", (3072, 16)))
        }
    ),
    "loras/klein-kohya.safetensors": lambda: lora(KLEIN_ALL, prefix="lora_unet_", is_kohya=True),
    "loras/klein-diffusers.safetensors": lambda: lora(KLEIN_DIFFUSERS),
    "loras/klein-attention.safetensors": lambda: lora(KLEIN_ATTENTION, prefix="diffusion_model."),
    "loras/klein-9b.safetensors": lambda: lora(
        layers_of(flux_2(*FLUX_2["klein-9b"]), containing="_attn."), prefix="diffusion_model."
    ),
    "loras/klein-by-name-of-base.safetensors": lambda: lora(
        {"transformer_blocks.0.attn.to_q": (3072, 3072)}, prefix="diffusion_model."
    ),
    "loras/chroma.safetensors": lambda: lora(FLUX_DOUBLE, prefix="lora_unet_", is_kohya=True),
    "loras/hunyuan.safetensors": lambda: lora(
        blocks("double_blocks", 20, {"img_attn_qkv": (9216, 3072)}), prefix="lora_unet_", is_kohya=True
    ),
    "loras/zimage-diffusers.safetensors": lambda: lora(Z_DIFFUSERS),
    "loras/zimage-kohya-fused.safetensors": lambda: lora(Z_FUSED, prefix="lora_unet_", is_kohya=True),
    "loras/zimage-comfyui-fused.safetensors": lambda: lora(Z_FUSED, prefix="diffusion_model."),
    "loras/zimage-bare.safetensors": lambda: lora(Z_DIFFUSERS, prefix=""),
    "loras/zimage-lycoris.safetensors": lambda: lokr(Z_FUSED),
    "loras/qwen-diffusers.safetensors": lambda: lora(QWEN),
    "loras/qwen-kohya.safetensors": lambda: lora(QWEN, prefix="lora_unet_", is_kohya=True),
    "loras/sd35-large-diffusers.safetensors": lambda: lora({"transformer_blocks.37.attn.to_q": (2432, 2432)}),
    "loras/sd35-medium-kohya.safetensors": lambda: (
        lora({"joint_blocks.0.x_block.attn.qkv": (4608, 1536)}, prefix="lora_unet_", is_kohya=True)
        | lora({"text_model.encoder.layers.0.mlp.fc1": (5120, 1280)}, prefix="lora_te2_", is_kohya=True)
        | lora({"encoder.block.0.layer.0.SelfAttention.q": (4096, 4096)}, prefix="lora_te3_", is_kohya=True)
    ),
    "loras/sd35-comfyui.safetensors": lambda: lora(
        {"joint_blocks.0.context_block.mlp.fc1": (9728, 2432)}, prefix="diffusion_model."
    ),
    "loras/sd35-medium-dual.safetensors": lambda: lokr({"transformer_blocks.0.attn2.to_q": (1536, 1536)}),
    "loras/qwen-lycoris.safetensors": lambda: lokr(QWEN),
    # Of few steps, by their published names
    "loras/pytorch_lora_weights_lcm-lora-sdv1-5.safetensors": lambda: lora(
        SD_ATTENTION, prefix="lora_unet_", is_kohya=True
    ),
    "loras/sdxl_lightning_8step_lora.safetensors": lambda: lora(XL_ATTENTION, prefix="lora_unet_", is_kohya=True),
    "loras/Hyper-FLUX.1-dev-8steps-lora.safetensors": lambda: lora(FLUX_ALL, rank=128, dtype="F32"),  # over 1 GiB
    "loras/FLUX.1-Turbo-Alpha.safetensors": lambda: lora(FLUX_ALL),
    "loras/Qwen-Image-Lightning-8steps-V1.1.safetensors": lambda: lora(QWEN, prefix=""),
    "loras/wan.safetensors": lambda: lora(WAN, prefix="diffusion_model."),
}
"""Place -> a function that makes the tensors of a file; `dict` for an empty file that is no safetensors or GGUF."""
NETWORKS: dict[str, Callable[[], bytes]] = {
    "inpaint/lama_fp32.onnx": tiny_networks.lama,
    "inpaint/migan_pipeline_v2.onnx": tiny_networks.migan,
    "insightface/det_10g.onnx": tiny_networks.salient,
}
"""Place -> a function that makes a network with the inputs and outputs of the published one."""
NOTES: dict[str, dict[str, str]] = {
    "loras/sd15-self-attention.safetensors": {"ss_sd_model_name": "v1-5-pruned-emaonly.safetensors", "ss_v2": "False"},
    "loras/sdxl-self-attention.safetensors": {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"},
    "loras/klein-by-name-of-base.safetensors": {"ss_base_model_version": "flux2_klein_4b"},
    "loras/chroma.safetensors": {"ss_base_model_version": "chroma"},
}
"""Place -> the metadata of the file's header."""


def write_tree(folder: Path) -> Path:
    for place, made in FILES.items():
        path = folder / place
        if path.suffix == ".safetensors":
            write_sparse(path, made(), NOTES.get(place))
        elif path.suffix == ".gguf":
            write_gguf(path, made())
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for place, network in NETWORKS.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(network())
    return folder
