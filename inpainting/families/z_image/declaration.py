"""Z-Image: a transformer trained by flow matching, with Qwen3 as its text encoder (arXiv 2511.22699)."""

from __future__ import annotations

from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.families import register
from inpainting.families.declaration import ControlNetSupport, LoraSupport, ModelFamily
from inpainting.families.flux.declaration import CONFIGURATIONS
from inpainting.families.layouts import Component, DiffusersLayout

LORA_PREFIXES = r"((base_model\.model\.)?(transformer\.)?|diffusion_model\.|lora_(unet|transformer)_|lycoris_)"
"""The prefixes of tensor names by PEFT and diffusers, ai-toolkit, kohya-ss, OneTrainer and LyCORIS; none for distilled
LoRAs, as they are published."""

Z_IMAGE = register(
    ModelFamily(
        name="z-image",
        label="Z-Image",
        engine=DIFFUSION,
        layout=DiffusersLayout(
            pipelines=("ZImagePipeline", "ZImageInpaintPipeline", "ZImageImg2ImgPipeline"),
            components={
                "transformer": Component(("diffusers.ZImageTransformer2DModel",), has_weights=True),
                "vae": Component(("diffusers.AutoencoderKL",), has_weights=True),
                "text_encoder": Component(("transformers.Qwen3Model",), has_weights=True),
                "tokenizer": Component(("transformers.Qwen2Tokenizer", "transformers.Qwen2TokenizerFast")),
                "scheduler": Component(tuple(f"diffusers.{name}" for name in FLOW_SCHEDULERS)),
            },
            component_file="inpainting.families.z_image.files:ZImageFile",
            file_channels=64,  # patches of 2x2 latents
        ),
        implementation="inpainting.families.z_image.network:ZImage",
        pipeline_class="ZImageInpaintPipeline",
        overflows_float16=True,
        latent_patch=2,
        schedulers=FLOW_SCHEDULERS,
        # Of Z-Image-Turbo, as on its model card.
        defaults={
            "steps": 8,
            "guidance_scale": 1.0,
            "scheduler": "FlowMatchEulerDiscreteScheduler",
            "width": 1024,
            "height": 1024,
        },
        # The layer of the text encoder and the noise levels are its own.
        ignored_settings=frozenset({"clip_skip", "use_karras_sigmas", "algorithm_type"}),
        latent_channels=16,
        vae_scaling_factor=0.3611,
        vae_configuration=CONFIGURATIONS,  # it has FLUX.1's VAE
        lora=LoraSupport(
            components=("transformer",),
            tensors=rf"{LORA_PREFIXES}(layers|noise_refiner|context_refiner|\w+_embedder|(all_)?final_layer)[._]",
            own_tensors=rf"\A{LORA_PREFIXES}(layers|noise_refiner|context_refiner)[._]\d+[._]"
            r"(attention|feed_forward|adaLN_modulation)[._]",
            not_read=r".*[._]attention[._](qkv|out)\.|(?!transformer\.|diffusion_model\.|lora_unet_)",
            original_name="inpainting.families.z_image.lora_names:original_name",
            base_models=r"z[-_ ]?image",
            other_model="inpainting.families.z_image.lora_names:other_model",
        ),
        controlnet=ControlNetSupport(
            class_name="ZImageControlNetModel",
            tensors=(r"\Acontrol_all_x_embedder\.", r"\Acontrol_layers\."),
            configuration="inpainting.families.z_image.controlnet_files:configuration",
            # Of Z-Image-Fun, as on its model cards; lines are those that MLSD finds.
            kinds=frozenset({"inpaint", "canny", "depth", "openpose", "softedge", "lineart", "scribble"}),
            is_converted=True,  # of 2.0, the layers that are not used are left out
        ),
        preview_decoder="taef1",
    )
)
