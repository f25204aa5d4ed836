"""Stable Diffusion XL: a larger UNet that is also conditioned on the image size, and two CLIP text encoders."""

from __future__ import annotations

from dataclasses import replace

from inpainting.core.setting import DIFFUSION
from inpainting.families import register
from inpainting.families.declaration import EmbeddingSupport, LoraSupport, ModelFamily
from inpainting.families.layouts import Component, DiffusersLayout
from inpainting.families.sd.declaration import (
    CHECKPOINT_PARTS,
    COMPONENTS,
    FEW_STEP_KINDS,
    LORA_TENSORS,
    ORIGINAL_NAME,
    REFUSALS,
)

SDXL = register(
    ModelFamily(
        name="sdxl",
        label="SDXL",
        engine=DIFFUSION,
        layout=DiffusersLayout(
            pipelines=(
                *("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline"),
                *("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLControlNetPipeline"),
                *("StableDiffusionXLControlNetInpaintPipeline", "StableDiffusionXLControlNetImg2ImgPipeline"),
            ),
            components={
                **COMPONENTS,
                # The refiner, which is loaded the same way, has the second encoder alone.
                "text_encoder": replace(COMPONENTS["text_encoder"], is_required=False),
                "tokenizer": replace(COMPONENTS["tokenizer"], is_required=False),
                "text_encoder_2": Component(("transformers.CLIPTextModelWithProjection",), has_weights=True),
                "tokenizer_2": COMPONENTS["tokenizer"],
            },
            checkpoint_prefix="conditioner.",
            checkpoint_parts={**CHECKPOINT_PARTS, "conditioner.": ""},
            refusals=REFUSALS,
        ),
        implementation="inpainting.families.sdxl.network:StableDiffusionXL",
        pipeline_class="StableDiffusionXLInpaintPipeline",
        # A watermark would change pixels outside the mask too.
        pipeline_arguments={"add_watermarker": False, "feature_extractor": None, "image_encoder": None},
        defaults={"width": 1024, "height": 1024},
        reads_prompt_weights=True,
        text_layer=2,
        text_features={2048: "sdxl-inpainting"},
        configurations={2048: ("sdxl",)},
        latent_channels=4,
        vae_scaling_factor=0.13025,
        vae_names=r"xl",
        vae_configuration="sdxl",
        lora=LoraSupport(
            components=("unet", "text_encoder", "text_encoder_2"),
            tensors=LORA_TENSORS,
            # Its UNet has blocks of several transformers.
            own_tensors=r"\A(lora_te2_|text_encoder_2\.)|\d[._]transformer_blocks[._][1-9]",
            original_name=ORIGINAL_NAME,
            # Pony, Illustrious and NoobAI are published models that were trained from it.
            base_models=r"\bsd[-_ ]?xl|stable[-_ ]diffusion[-_ ]xl|pony|illustrious|noobai",
            few_step_kinds=FEW_STEP_KINDS,
        ),
        takes_inpaint_patch=True,
        embedding=EmbeddingSupport(tensors=("clip_l", "clip_g"), widths=(frozenset({768}), frozenset({1280}))),
        preview_decoder="taesdxl",
        shared_image_encoder_mark="vit-h",  # in h94/IP-Adapter
    )
)
