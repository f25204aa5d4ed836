"""Chroma: trained from FLUX.1 [schnell] without its distillation (huggingface.co/lodestones/Chroma1-HD)."""

from __future__ import annotations

from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.families import register
from inpainting.families.declaration import LoraSupport, ModelFamily
from inpainting.families.flux.declaration import CONFIGURATIONS, LORAS
from inpainting.families.layouts import Component, DiffusersLayout

T5_ALONE = "parts/chroma"
"""The name in `catalog.configurations` of the text encoder and its tokenizer."""

CHROMA = register(
    ModelFamily(
        name="chroma",
        label="Chroma",
        engine=DIFFUSION,
        layout=DiffusersLayout(
            pipelines=("ChromaPipeline", "ChromaInpaintPipeline", "ChromaImg2ImgPipeline"),
            components={
                "transformer": Component(("diffusers.ChromaTransformer2DModel",), has_weights=True),
                "vae": Component(("diffusers.AutoencoderKL",), has_weights=True),
                "text_encoder": Component(("transformers.T5EncoderModel",), has_weights=True),
                "tokenizer": Component(
                    ("transformers.T5TokenizerFast", "transformers.T5Tokenizer"), may_lack_vocabulary=True
                ),
                "scheduler": Component(tuple(f"diffusers.{name}" for name in FLOW_SCHEDULERS)),
            },
            component_file="inpainting.families.chroma.files:ChromaFile",
        ),
        implementation="inpainting.families.chroma.network:Chroma",
        pipeline_class="ChromaInpaintPipeline",
        overflows_float16=True,
        latent_patch=2,
        schedulers=FLOW_SCHEDULERS,
        # As in diffusers' documentation of Chroma.
        defaults={
            "steps": 40,
            "guidance_scale": 3.0,
            "scheduler": "FlowMatchEulerDiscreteScheduler",
            "width": 1024,
            "height": 1024,
        },
        # It has no CLIP; its noise levels are its own.
        ignored_settings=frozenset({"clip_skip", "use_karras_sigmas", "algorithm_type"}),
        latent_channels=16,
        vae_scaling_factor=0.3611,
        vae_configuration=CONFIGURATIONS,  # it has FLUX.1's VAE
        lora=LoraSupport(
            components=("transformer",),
            tensors=LORAS.tensors,
            own_tensors=r"distilled_guidance_layer",
            not_read=LORAS.not_read,
            original_name="inpainting.families.chroma.lora_names:original_name",
            base_models=r"chroma",
            other_model="inpainting.families.chroma.lora_names:other_model",
            taken_for=LORAS.family,  # without its own layer or metadata
        ),
        preview_decoder="taef1",
    )
)
