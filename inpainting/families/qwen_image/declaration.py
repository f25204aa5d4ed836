"""Qwen-Image: a transformer trained by flow matching, with Qwen2.5-VL as its text encoder (arXiv 2508.02324)."""

from __future__ import annotations

from dataclasses import replace

from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.families import register
from inpainting.families.declaration import ControlNetSupport, LoraSupport, ModelFamily
from inpainting.families.layouts import Component, DiffusersLayout
from inpainting.families.z_image.declaration import LORA_PREFIXES

LAYOUT = DiffusersLayout(
    pipelines=("QwenImagePipeline", "QwenImageInpaintPipeline", "QwenImageImg2ImgPipeline"),
    components={
        "transformer": Component(("diffusers.QwenImageTransformer2DModel",), has_weights=True),
        "vae": Component(("diffusers.AutoencoderKLQwenImage",), has_weights=True),
        "text_encoder": Component(("transformers.Qwen2_5_VLForConditionalGeneration",), has_weights=True),
        "tokenizer": Component(("transformers.Qwen2Tokenizer", "transformers.Qwen2TokenizerFast")),
        "scheduler": Component(tuple(f"diffusers.{name}" for name in FLOW_SCHEDULERS)),
    },
)
QWEN_IMAGE = register(
    ModelFamily(
        name="qwen-image",
        label="Qwen-Image",
        engine=DIFFUSION,
        layout=replace(
            LAYOUT,
            component_file="inpainting.families.qwen_image.files:QwenImageFile",
            file_channels=64,  # patches of 2x2 latents
        ),
        implementation="inpainting.families.qwen_image.network:QwenImage",
        pipeline_class="QwenImageInpaintPipeline",
        overflows_float16=True,
        caches_blocks=True,
        latent_patch=2,
        schedulers=FLOW_SCHEDULERS,
        # Steps and guidance as on its model card; the size is the default of diffusers' pipeline.
        defaults={
            "steps": 50,
            "guidance_scale": 4.0,
            "scheduler": "FlowMatchEulerDiscreteScheduler",
            "width": 1024,
            "height": 1024,
        },
        # Guidance keeps the length of each token's prediction; text encoder and noise levels are its own.
        ignored_settings=frozenset({"guidance_rescale", "clip_skip", "use_karras_sigmas", "algorithm_type"}),
        lora=LoraSupport(
            family="qwen-image",
            components=("transformer",),
            tensors=rf"{LORA_PREFIXES}(transformer_blocks|time_text_embed|img_in|txt_in|norm_out|proj_out)[._]",
            # The attention layers have the names of FLUX's, which has 19 of these blocks and not 60.
            own_tensors=rf"\A{LORA_PREFIXES}transformer_blocks[._](\d+[._](img|txt)_(mlp|mod)|(19|[2-5]\d)[._])",
            # diffusers' loader is not given alphas and names from before PEFT, nor the input layers in ComfyUI's names.
            not_read=r"transformer\.transformer_blocks\.(.*\.alpha\Z|(?!.*\.lora_[AB]))|diffusion_model\.(img|txt)_in",
            base_models=r"qwen[-_ ]?image",
            few_step_kinds=frozenset({"lightning"}),
        ),
        controlnet=ControlNetSupport(
            class_name="QwenImageControlNetModel",
            # Those of FLUX.1 and Stable Diffusion 3 have the first one too.
            tensors=(r"\Acontrolnet_x_embedder\.", r"\Atransformer_blocks\.\d+\.img_mod\."),
            configuration="inpainting.families.qwen_image.controlnet_files:configuration",
            # Of InstantX's, as on its model card.
            kinds=frozenset({"canny", "depth", "openpose", "softedge"}),
        ),
    )
)
