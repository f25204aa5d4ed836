"""`add_model --scan` over the models folder of ComfyUI, made of the shapes of published files: a row for each file."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.support.comfyui_files import FILES, NETWORKS, write_tree

FOUR_BITS = (
    "which is not supported: take the same model in bf16 or fp8, or a .gguf file of Chroma and FLUX.1 [dev] and "
    "FLUX.1 Fill and FLUX.1 Kontext and FLUX.2 klein and Qwen-Image and Qwen-Image-Edit and Stable Diffusion 3.5 and "
    "Z-Image."
)
AS_FOLDER = "which is added as a folder in diffusers' layout: take that, or the file for ComfyUI."
NOT_FLUX = "It is not supported; FLUX.1 [dev] and FLUX.1 Fill and FLUX.1 Kontext are."
PARTS = " with ae.safetensors, clip_l.safetensors, t5xxl_fp16.safetensors"
CLIPS_AND_T5 = " with clip_l.safetensors, clip_g.safetensors, t5xxl_fp16.safetensors"
QWEN3 = " with ae.safetensors, qwen_3_4b.safetensors"
QWEN2_5 = " with qwen_image_vae.safetensors, qwen_2.5_vl_7b_fp8_scaled.safetensors"
VIT_H = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
VIT_G = "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors"
NEW = {
    "checkpoints/sd-v1-5-inpainting.safetensors": "checkpoint sd, sd-v1-5-inpainting",
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors": "checkpoint sd, v1-5-pruned-emaonly-fp16",
    "checkpoints/512-inpainting-ema.safetensors": "checkpoint sd, 512-inpainting-ema",
    "checkpoints/sd_xl_base_1.0.safetensors": "checkpoint sdxl, sd_xl_base_1.0",
    "checkpoints/juggernautXL_inpainting.safetensors": "checkpoint sdxl, juggernautxl_inpainting",
    "checkpoints/noobaiXL_vPred.safetensors": "checkpoint sdxl, noobaixl_vpred",
    "checkpoints/sd_xl_base_fp8.safetensors": "checkpoint sdxl, sd_xl_base_fp8",
    "checkpoints/flux1-fill-dev-all.safetensors": "checkpoint flux-fill, flux1-fill-dev-all",
    "checkpoints/flux1-dev-fp8.safetensors": "checkpoint flux-dev, flux1-dev-fp8",
    "diffusion_models/flux1-dev.safetensors": f"checkpoint flux-dev{PARTS}, flux1-dev",
    "diffusion_models/flux1-schnell.safetensors": f"checkpoint flux-dev{PARTS}, flux1-schnell",
    "diffusion_models/flux1-krea-dev_fp8_scaled.safetensors": (
        f"checkpoint flux-dev{PARTS}, flux1-krea-dev_fp8_scaled"
    ),
    "diffusion_models/my-merge.safetensors": f"checkpoint flux-dev{PARTS}, my-merge",
    "diffusion_models/Chroma1-HD.safetensors": (
        "checkpoint chroma with ae.safetensors, t5xxl_fp16.safetensors, chroma1-hd"
    ),
    "diffusion_models/Chroma1-HD-fp8_scaled.safetensors": (
        "checkpoint chroma with ae.safetensors, t5xxl_fp16.safetensors, chroma1-hd-fp8_scaled"
    ),
    "unet/Chroma1-HD-Q8_0.gguf": "checkpoint chroma with ae.safetensors, t5xxl_fp16.safetensors, chroma1-hd-q8_0",
    "diffusion_models/flux1-fill-dev.safetensors": f"checkpoint flux-fill{PARTS}, flux1-fill-dev",
    "diffusion_models/flux1-fill-dev_fp8.safetensors": f"checkpoint flux-fill{PARTS}, flux1-fill-dev_fp8",
    "diffusion_models/flux1-fill-dev_scaled.safetensors": f"checkpoint flux-fill{PARTS}, flux1-fill-dev_scaled",
    "diffusion_models/flux1-dev-kontext_fp8_scaled.safetensors": (
        f"checkpoint flux-kontext{PARTS}, flux1-dev-kontext_fp8_scaled"
    ),
    "unet/flux1-dev-Q8_0.gguf": f"checkpoint flux-dev{PARTS}, flux1-dev-q8_0",
    "unet/flux1-fill-dev-Q8_0.gguf": f"checkpoint flux-fill{PARTS}, flux1-fill-dev-q8_0",
    "unet/flux1-kontext-dev-Q8_0.gguf": f"checkpoint flux-kontext{PARTS}, flux1-kontext-dev-q8_0",
    "checkpoints/z-image-turbo-all.safetensors": f"checkpoint z-image{QWEN3}, z-image-turbo-all",
    **{
        f"diffusion_models/{name}.safetensors": f"checkpoint z-image{QWEN3}, {name}"
        for name in ("z_image_turbo_bf16", "z_image_bf16", "z_image_turbo_fp8_e4m3fn")
    },
    "diffusion_models/flux-2-klein-base-4b-fp8.safetensors": (
        "checkpoint flux2-klein with flux2-vae.safetensors, qwen_3_4b.safetensors, flux-2-klein-base-4b-fp8"
    ),
    "diffusion_models/qwen_image_bf16.safetensors": f"checkpoint qwen-image{QWEN2_5}, qwen_image_bf16",
    "diffusion_models/qwen_image_edit_2511_bf16.safetensors": (
        f"checkpoint qwen-image-edit{QWEN2_5}, qwen_image_edit_2511_bf16"
    ),
    "diffusion_models/sd3.5_medium_fp8_scaled.safetensors": f"checkpoint sd3{CLIPS_AND_T5}, sd3.5_medium_fp8_scaled",
    "unet/sd3.5_medium-Q8_0.gguf": (
        f"checkpoint sd3 with sd3_vae.safetensors,{CLIPS_AND_T5.removeprefix(' with')}, sd3.5_medium-q8_0"
    ),
    "diffusion_models/flux-2-klein-4b.safetensors": (
        "checkpoint flux2-klein with flux2-vae.safetensors, qwen_3_4b.safetensors, flux-2-klein-4b"
    ),
    "diffusion_models/flux-2-klein-9b.safetensors": (
        "checkpoint flux2-klein with flux2-vae.safetensors, qwen_3_8b.safetensors, flux-2-klein-9b"
    ),
    "diffusion_models/qwen_image_fp8_e4m3fn.safetensors": (f"checkpoint qwen-image{QWEN2_5}, qwen_image_fp8_e4m3fn"),
    "checkpoints/Qwen-Rapid-AIO-v5.safetensors": f"checkpoint qwen-image-edit{QWEN2_5}, qwen-rapid-aio-v5",
    "diffusion_models/qwen_image_edit_2509_fp8_e4m3fn.safetensors": (
        f"checkpoint qwen-image-edit{QWEN2_5}, qwen_image_edit_2509_fp8_e4m3fn"
    ),
    "unet/Qwen-Image-Edit-2509-Q8_0.gguf": f"checkpoint qwen-image-edit{QWEN2_5}, qwen-image-edit-2509-q8_0",
    "checkpoints/sd3.5_large.safetensors": f"checkpoint sd3{CLIPS_AND_T5}, sd3.5_large",
    "checkpoints/sd3.5_medium_incl_clips_t5xxlfp8scaled.safetensors": (
        "checkpoint sd3, sd3.5_medium_incl_clips_t5xxlfp8scaled"
    ),
    "diffusion_models/sd3.5_medium.safetensors": f"checkpoint sd3{CLIPS_AND_T5}, sd3.5_medium",
    "vae/sd3_vae.safetensors": "vae sd3, sd3_vae",
    "unet/z_image_turbo-Q8_0.gguf": f"checkpoint z-image{QWEN3}, z_image_turbo-q8_0",
    "unet/flux-2-klein-4b-Q8_0.gguf": (
        "checkpoint flux2-klein with flux2-vae.safetensors, qwen_3_4b.safetensors, flux-2-klein-4b-q8_0"
    ),
    "unet/qwen-image-Q8_0.gguf": (f"checkpoint qwen-image{QWEN2_5}, qwen-image-q8_0"),
    "vae/sdxl_vae.safetensors": "vae sdxl, sdxl_vae",
    "vae/vae-ft-mse-840000-ema-pruned.safetensors": "vae sd, vae-ft-mse-840000-ema-pruned",
    "style_models/flux1-redux-dev.safetensors": (
        "ip-adapter flux-dev with sigclip_vision_patch14_384.safetensors, flux1-redux-dev"
    ),
    "ipadapter/ip-adapter_sd15.safetensors": f"ip-adapter sd with {VIT_H}, ip-adapter_sd15-2",
    "ipadapter/ip-adapter_sd15_vit-G.safetensors": f"ip-adapter sd with {VIT_G}, ip-adapter_sd15_vit-g",
    "ipadapter/ip-adapter-plus_sd15.safetensors": f"ip-adapter sd with {VIT_H}, ip-adapter-plus_sd15",
    "ipadapter/ip-adapter-full-face_sd15.safetensors": f"ip-adapter sd with {VIT_H}, ip-adapter-full-face_sd15",
    "ipadapter/ip-adapter_sdxl.safetensors": f"ip-adapter sdxl with {VIT_G}, ip-adapter_sdxl-2",
    "ipadapter/ip-adapter-plus_sdxl_vit-h.safetensors": f"ip-adapter sdxl with {VIT_H}, ip-adapter-plus_sdxl_vit-h-2",
    "controlnet/control_v11p_sd15_canny_fp16.safetensors": "controlnet canny for sd, control_v11p_sd15_canny_fp16",
    "controlnet/control_v11p_sd15_inpaint_fp16.safetensors": (
        "controlnet inpaint for sd, control_v11p_sd15_inpaint_fp16"
    ),
    "controlnet/control_v11f1p_sd15_depth_fp16.safetensors": "controlnet depth for sd, control_v11f1p_sd15_depth_fp16",
    "controlnet/control_v11p_sd21_canny.safetensors": "controlnet canny for sd, control_v11p_sd21_canny",
    "controlnet/diffusers_xl_depth_full.safetensors": "controlnet depth for sdxl, diffusers_xl_depth_full",
    "controlnet/controlnet-union-sdxl-1.0_promax.safetensors": (
        "controlnet union for sdxl, controlnet-union-sdxl-1.0_promax"
    ),
    "controlnet/Z-Image-Turbo-Fun-Controlnet-Union.safetensors": (
        "controlnet union for z-image, z-image-turbo-fun-controlnet-union"
    ),
    "model_patches/Z-Image-Turbo-Fun-Controlnet-Union-2.1.safetensors": (
        "controlnet union for z-image, z-image-turbo-fun-controlnet-union-2.1"
    ),
    "model_patches/Z-Image-Turbo-Fun-Controlnet-Tile-2.1-lite-2601-8steps.safetensors": (
        "controlnet tile for z-image, z-image-turbo-fun-controlnet-tile-2.1-lite-2601-8steps"
    ),
    "controlnet/Qwen-Image-InstantX-ControlNet-Inpainting.safetensors": (
        "controlnet inpaint for qwen-image, qwen-image-instantx-controlnet-inpainting"
    ),
    "controlnet/Qwen-Image-InstantX-ControlNet-Union.safetensors": (
        "controlnet union for qwen-image, qwen-image-instantx-controlnet-union"
    ),
    "controlnet/FLUX.1-dev-ControlNet-Union-Pro-2.0.safetensors": (
        "controlnet union for flux-dev, flux.1-dev-controlnet-union-pro-2.0"
    ),
    "controlnet/FLUX.1-dev-ControlNet-Union-Pro.safetensors": (
        "controlnet union for flux-dev, flux.1-dev-controlnet-union-pro"
    ),
    **{
        f"controlnet/sd3.5_large_controlnet_{name}.safetensors": (
            f"controlnet {kind} for sd3, sd3.5_large_controlnet_{name}"
        )
        for name, kind in (("canny", "canny"), ("depth", "depth"), ("blur", "tile"))
    },
    "controlnet/SD3-Controlnet-Inpainting.safetensors": "controlnet inpaint for sd3, sd3-controlnet-inpainting",
    "controlnet/FLUX.1-dev-ControlNet-Depth.safetensors": (
        "controlnet depth for flux-dev, flux.1-dev-controlnet-depth"
    ),
    "controlnet/FLUX.1-dev-Controlnet-Inpainting-Beta.safetensors": (
        "controlnet inpaint for flux-dev, flux.1-dev-controlnet-inpainting-beta"
    ),
    "embeddings/easynegative.safetensors": "embedding sd, easynegative",
    "embeddings/negativeXL_D.safetensors": "embedding sdxl, negativexl_d",
    "embeddings/sd2-style.safetensors": "embedding sd, sd2-style",
    "loras/sd15-kohya.safetensors": "lora sd, sd15-kohya",
    "loras/sdxl-kohya.safetensors": "lora sdxl, sdxl-kohya",
    "loras/sd15-self-attention.safetensors": "lora sd, sd15-self-attention",
    "loras/sdxl-self-attention.safetensors": "lora sdxl, sdxl-self-attention",
    "loras/flux-kohya.safetensors": "lora flux-fill, flux-kohya",
    "loras/flux-ai-toolkit.safetensors": "lora flux-fill, flux-ai-toolkit",
    "loras/flux-four-blocks.safetensors": "lora flux-fill, flux-four-blocks",
    "loras/flux-lycoris.safetensors": "lora flux-fill, flux-lycoris",
    "loras/chroma.safetensors": "lora chroma, chroma",
    "loras/sd35-large-diffusers.safetensors": "lora sd3, sd35-large-diffusers",
    "loras/sd35-medium-kohya.safetensors": "lora sd3, sd35-medium-kohya",
    "loras/sd35-medium-dual.safetensors": "lora sd3, sd35-medium-dual",
    "loras/sd35-comfyui.safetensors": "lora sd3, sd35-comfyui",
    "loras/zimage-diffusers.safetensors": "lora z-image, zimage-diffusers",
    "loras/zimage-kohya-fused.safetensors": "lora z-image, zimage-kohya-fused",
    "loras/zimage-comfyui-fused.safetensors": "lora z-image, zimage-comfyui-fused",
    "loras/zimage-bare.safetensors": "lora z-image, zimage-bare",
    "loras/zimage-lycoris.safetensors": "lora z-image, zimage-lycoris",
    "loras/qwen-diffusers.safetensors": "lora qwen-image, qwen-diffusers",
    "loras/qwen-kohya.safetensors": "lora qwen-image, qwen-kohya",
    "loras/qwen-lycoris.safetensors": "lora qwen-image, qwen-lycoris",
    "loras/pytorch_lora_weights_lcm-lora-sdv1-5.safetensors": "lora sd lcm, pytorch_lora_weights_lcm-lora-sdv1-5",
    "loras/sdxl_lightning_8step_lora.safetensors": "lora sdxl lightning of 8 steps, sdxl_lightning_8step_lora",
    "loras/Hyper-FLUX.1-dev-8steps-lora.safetensors": ("lora flux-fill hyper of 8 steps, hyper-flux.1-dev-8steps-lora"),
    "loras/FLUX.1-Turbo-Alpha.safetensors": "lora flux-fill turbo, flux.1-turbo-alpha",
    "loras/Qwen-Image-Lightning-8steps-V1.1.safetensors": (
        "lora qwen-image lightning of 8 steps, qwen-image-lightning-8steps-v1.1"
    ),
    **{
        f"loras/{name}.safetensors": f"lora flux2-klein, {name}"
        for name in ("klein-kohya", "klein-diffusers", "klein-attention", "klein-9b", "klein-by-name-of-base")
    },
    "upscale_models/4x-UltraSharp.safetensors": "checkpoint rrdbnet, 4x-ultrasharp",
    "inpaint/lama_fp32.onnx": "checkpoint lama, lama_fp32",
    "inpaint/migan_pipeline_v2.onnx": "checkpoint migan, migan_pipeline_v2",
}
"""Place -> what the scan would add. The catalog lists models with the names of three of the IP-Adapters."""
LEFT = {
    "checkpoints/v2-1_768-ema-pruned.safetensors": (
        "The file does not tell whether the network predicts noise, as models of 512 pixels do, or velocity, as "
        "those of 768 do: add --config sd2 or --config sd2-v. Type “python manage.py add_model "
        "v2-1_768-ema-pruned --family sd --from FOLDER/checkpoints/v2-1_768-ema-pruned.safetensors --config "
        "NAME”."
    ),
    "checkpoints/sd_xl_refiner_1.0.safetensors": (
        "It attends to text features of 1280, for which no configuration of SDXL is known. Type “python manage.py"
        " add_model sd_xl_refiner_1.0 --family sdxl --from FOLDER/checkpoints/sd_xl_refiner_1.0.safetensors "
        "--config NAME”, where NAME is a folder in diffusers' layout with its configuration, or an installed "
        "model of that shape."
    ),
    "checkpoints/Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors": (
        "Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors is a UNet for text features of 2048 without text "
        "encoders: take a checkpoint with them and the VAE, or a folder in diffusers' layout."
    ),
    "checkpoints/instruct-pix2pix-00-22000.safetensors": (
        "instruct-pix2pix-00-22000.safetensors takes 8 channels; 4 (plain) and 9 (inpainting) are supported."
    ),
    "checkpoints/cosxl_edit.safetensors": (
        "cosxl_edit.safetensors takes 8 channels; 4 (plain) and 9 (inpainting) are supported."
    ),
    "checkpoints/big.ckpt": "A .ckpt file may hold a pickle, which can run any program.",
    "diffusion_models/flux1-canny-dev.safetensors": (
        "flux1-canny-dev.safetensors is FLUX.1 Canny or Depth (it has 128 input channels), which follows edges or"
        f" depth. {NOT_FLUX}"
    ),
    "diffusion_models/flux2_dev_fp8mixed.safetensors": (
        "It is the transformer of FLUX.2 [dev] as one file, which is not supported."
    ),
    "diffusion_models/svdq-int4_r32-flux.1-fill-dev.safetensors": (
        f"It holds weights of 4 bits (SVDQuant, as Nunchaku has it), {FOUR_BITS}"
    ),
    "diffusion_models/flux1-fill-dev-nvfp4.safetensors": f"It holds weights of 4 bits (nvfp4), {FOUR_BITS}",
    "diffusion_models/flux1-dev-bnb-nf4.safetensors": (
        f"It holds weights of 4 bits (NF4, as bitsandbytes has it), {FOUR_BITS}"
    ),
    "diffusion_models/z_image_turbo_nvfp4.safetensors": f"It holds weights of 4 bits (nvfp4), {FOUR_BITS}",
    "diffusion_models/z_image_of_diffusers.safetensors": (
        f"It is a transformer of Z-Image with the names of diffusers, {AS_FOLDER}"
    ),
    "diffusion_models/klein_of_diffusers.safetensors": (
        f"It is a transformer of FLUX.2 with the names of diffusers, {AS_FOLDER}"
    ),
    "diffusion_models/wan2.2_t2v_low_noise_14B_fp8.safetensors": "It is a transformer of Wan, which is not supported.",
    "diffusion_models/hidream_i1_dev_fp8.safetensors": "It is a transformer of HiDream, which is not supported.",
    "diffusion_models/hunyuan_video_t2v_720p_bf16.safetensors": (
        "It is a transformer of HunyuanVideo, which is not supported."
    ),
    "diffusion_models/lumina_2.safetensors": "It is a transformer of Lumina-Image 2.0, which is not supported.",
    "diffusion_models/ltxv-13b-0.9.8.safetensors": "It is a transformer of LTX-Video, which is not supported.",
    "unet/sdxl_lightning_4step_unet.safetensors": (
        "It is a UNet alone, without text encoders and VAE: take a checkpoint with all of them, or a folder in "
        "diffusers' layout."
    ),
    "text_encoders/clip_l.safetensors": (
        "It is CLIP-L, a text encoder of FLUX.1 and Stable Diffusion 3, which is added together with a transformer."
    ),
    "text_encoders/clip_g.safetensors": (
        "It is CLIP-G, a text encoder of Stable Diffusion 3, which is added together with a transformer."
    ),
    **dict.fromkeys(
        ("text_encoders/t5xxl_fp16.safetensors", "clip/t5xxl_fp8_e4m3fn.safetensors"),
        "It is T5-XXL, the text encoder of Chroma and one of FLUX.1 and Stable Diffusion 3, which is added together "
        "with a transformer.",
    ),
    "text_encoders/t5-v1_1-xxl-encoder-Q8_0.gguf": (
        "Its weights are quantised (GGUF), and it is no transformer of Chroma or transformer of FLUX or transformer of "
        "FLUX.2 klein or transformer of Qwen-Image or transformer of Stable Diffusion 3 or transformer of Z-Image."
    ),
    "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors": (
        "It is umT5, the text encoder of Wan, which is not supported."
    ),
    "text_encoders/qwen_3_4b.safetensors": (
        "It is Qwen3-4B, the text encoder of Z-Image and FLUX.2 [klein] 4B, which is added together with a transformer."
    ),
    "text_encoders/qwen_3_8b.safetensors": (
        "It is Qwen3-8B, the text encoder of FLUX.2 [klein] 9B, which is added together with a transformer."
    ),
    "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors": (
        "It is Qwen2.5-VL-7B, the text encoder of Qwen-Image, which is added together with a transformer."
    ),
    "text_encoders/mistral_3_small_flux2_bf16.safetensors": (
        "It is Mistral Small 3, the text encoder of FLUX.2 [dev], which is not supported."
    ),
    "vae/ae.safetensors": (
        "Its tensors fit the families chroma and flux-dev and flux-fill and flux-kontext and sd3 and z-image. Type “"
        "python manage.py add_model ae --family chroma --kind vae --from FOLDER/vae/ae.safetensors”; --family is "
        "chroma or flux-dev or flux-fill or flux-kontext or sd3 or z-image."
    ),
    "vae/clearvae.safetensors": (
        "Its tensors fit the families sd and sdxl. Type “python manage.py add_model clearvae --family sd --kind "
        "vae --from FOLDER/vae/clearvae.safetensors”; --family is sd or sdxl."
    ),
    "vae/qwen_image_vae.safetensors": (
        "It is the VAE of Qwen-Image, or of Wan, which is added together with a transformer."
    ),
    "vae/wan_2.1_vae.safetensors": (
        "It is the VAE of Qwen-Image, or of Wan, which is added together with a transformer."
    ),
    "vae/flux2-vae.safetensors": "It is the VAE of FLUX.2, which is added together with a transformer.",
    "vae_approx/taesd_decoder.pth": "A .pth file may hold a pickle, which can run any program.",
    "embeddings/badhandv4.pt": "A .pt file may hold a pickle, which can run any program.",
    "clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": (
        "It is the image encoder CLIP-ViT-H, which is added together with an IP-Adapter."
    ),
    "clip_vision/CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors": (
        "It is the image encoder CLIP-ViT-bigG, which is added together with an IP-Adapter."
    ),
    "clip_vision/sigclip_vision_patch14_384.safetensors": (
        "It is the image encoder SigLIP-SO400M, which is added together with an IP-Adapter."
    ),
    "clip_vision/siglip-so400m-patch14-224.safetensors": (
        "It is an image encoder of another kind than the IP-Adapters that are supported take."
    ),
    "ipadapter/ip-adapter-faceid_sd15.safetensors": (
        "ip-adapter-faceid_sd15.safetensors is an IP-Adapter for the identity of a face (FaceID), which needs "
        "another network and is not supported."
    ),
    "model_patches/some-controlnet-z-image.safetensors": (
        "some-controlnet-z-image.safetensors is no ControlNet of a published shape for Z-Image."
    ),
    "controlnet/some-controlnet-qwen.safetensors": (
        "some-controlnet-qwen.safetensors is no ControlNet of a published shape for Qwen-Image."
    ),
    "controlnet/some-controlnet-flux.safetensors": (
        "some-controlnet-flux.safetensors is no ControlNet of a published shape for FLUX.1."
    ),
    "controlnet/flux-controlnet-canny-diffusers.safetensors": (
        "flux-controlnet-canny-diffusers.safetensors is a ControlNet of XLabs, which takes the pixels of its control "
        "image, and is not supported."
    ),
    "controlnet/flux-canny-controlnet-v3.safetensors": (
        "It is a ControlNet for a transformer, such as those of XLabs, which is not supported."
    ),
    "controlnet/some-controlnet-sd3.safetensors": (
        "some-controlnet-sd3.safetensors is no ControlNet of a published shape for Stable Diffusion 3."
    ),
    "controlnet/t2iadapter_canny_sd15v2.safetensors": "It is a T2I-Adapter, which is not supported.",
    "controlnet/control-lora-canny-rank256.safetensors": "It is a Control-LoRA, which is not supported.",
    "inpaint/big-lama.pt": (
        "A .pt file may hold a pickle, which can run any program. Its name is that of LaMa, which “python "
        "manage.py pull_model lama” gets as .onnx."
    ),
    "inpaint/migan_traced.pt": (
        "A .pt file may hold a pickle, which can run any program. Its name is that of MI-GAN, which “python "
        "manage.py pull_model migan” gets as .onnx."
    ),
    "inpaint/MAT_Places512_G_fp16.safetensors": "No model or adapter that is supported holds “mapping.fc0.weight”.",
    "loras/without-notes.safetensors": (
        "Neither its layers nor its metadata tell the family of this LoRA. Type “python manage.py add_lora "
        "without-notes --family sd --from FOLDER/loras/without-notes.safetensors”; --family is sd or sdxl."
    ),
    "loras/flux-xlabs.safetensors": (
        "flux-xlabs.safetensors is a LoRA in the names of XLabs, not in those of kohya-ss, ai-toolkit or "
        "diffusers, which is not supported."
    ),
    "loras/hunyuan.safetensors": (
        "It is a LoRA for a model of more blocks than FLUX.1 has, such as HunyuanVideo, and no model that is "
        "supported takes it."
    ),
    "loras/wan.safetensors": "It is a LoRA for Wan, and no model that is supported takes it.",
    "insightface/det_10g.onnx": (
        "It is no network of LaMa or MI-GAN or ONNX upscaler; a scan recognises no other .onnx files."
    ),
}
"""Place -> why the scan leaves the file."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("comfyui"))


@pytest.fixture
def lines(folder: Path, settings: Any, tmp_path: Path, db: None) -> list[str]:
    """The lines of the output, in which FOLDER is the folder."""
    settings.MODELS_DIR = tmp_path / "models"
    output = StringIO()
    call_command("add_model", "--scan", str(folder), stdout=output)
    return output.getvalue().replace(str(folder), "FOLDER").splitlines()


def test_every_file_has_its_row() -> None:
    assert sorted([*NEW, *LEFT]) == sorted([*FILES, *NETWORKS])


def test_the_scan_says_the_right_thing_of_every_file(lines: list[str]) -> None:
    *rows, total = lines
    expected = [f"   new  {place}: {said}" for place, said in NEW.items()]
    expected += [f"  left  {place}: {said}" for place, said in LEFT.items()]
    assert sorted(rows) == sorted(expected)
    assert total.startswith(f"{len(NEW)} to add; ")
