"""Stable Diffusion 3 and 3.5: a transformer trained by flow matching, with two CLIPs and T5 (arXiv 2403.03206)."""

from __future__ import annotations

from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.families import register
from inpainting.families.declaration import ControlNetSupport, LoraSupport, ModelFamily
from inpainting.families.layouts import Component, DiffusersLayout
from inpainting.families.z_image.declaration import LORA_PREFIXES

CLIP = Component(("transformers.CLIPTextModelWithProjection",), has_weights=True)
CLIP_TOKENIZER = Component(("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast"))
SD3 = register(
    ModelFamily(
        name="sd3",
        label="Stable Diffusion 3.5",
        engine=DIFFUSION,
        layout=DiffusersLayout(
            pipelines=(
                "StableDiffusion3Pipeline",
                "StableDiffusion3InpaintPipeline",
                "StableDiffusion3Img2ImgPipeline",
            ),
            components={
                "transformer": Component(("diffusers.SD3Transformer2DModel",), has_weights=True),
                "vae": Component(("diffusers.AutoencoderKL",), has_weights=True),
                "text_encoder": CLIP,
                "text_encoder_2": CLIP,
                "text_encoder_3": Component(("transformers.T5EncoderModel",), has_weights=True),
                "tokenizer": CLIP_TOKENIZER,
                "tokenizer_2": CLIP_TOKENIZER,
                "tokenizer_3": Component(("transformers.T5TokenizerFast", "transformers.T5Tokenizer")),
                "scheduler": Component(tuple(f"diffusers.{name}" for name in FLOW_SCHEDULERS)),
            },
            component_file="inpainting.families.sd3.files:Sd3File",
            file_channels=16,
        ),
        implementation="inpainting.families.sd3.network:StableDiffusion3",
        pipeline_class="StableDiffusion3InpaintPipeline",
        pipeline_arguments={"feature_extractor": None, "image_encoder": None},
        overflows_float16=True,
        latent_patch=2,
        schedulers=FLOW_SCHEDULERS,
        # As on the model card of 3.5 Large.
        defaults={
            "steps": 28,
            "guidance_scale": 3.5,
            "scheduler": "FlowMatchEulerDiscreteScheduler",
            "width": 1024,
            "height": 1024,
        },
        ignored_settings=frozenset({"use_karras_sigmas", "algorithm_type"}),  # its noise levels are its own
        text_layer=2,
        latent_channels=16,
        vae_scaling_factor=1.5305,
        vae_names=r"sd3",
        vae_configuration="parts/sd3",
        lora=LoraSupport(
            components=("transformer", "text_encoder", "text_encoder_2"),
            tensors=rf"{LORA_PREFIXES}(transformer_blocks|joint_blocks|(context|pos|time_text|[txy])_embed|norm_out"
            r"|proj_out|final_layer)|text_encoder(_[23])?\.|text_encoders\.(clip_[lg]|t5xxl)\.|lora_te[123]_",
            own_tensors=rf"\A{LORA_PREFIXES}(joint_blocks[._]\d|transformer_blocks[._]\d+[._]attn2[._])",
            own_widths=frozenset({1536, 2432}),  # of Medium, also of 3, and of Large
            # In diffusers' names the alphas, and names from before PEFT; of the others all.
            not_read=r"transformer\.transformer_blocks\.(.*\.alpha\Z|(?!.*\.lora_[AB]))|(?!transformer\.|text_encoder(_2)?\.)",
            original_name="inpainting.families.sd3.lora_names:original_name",
            base_models=r"sd[-_ ]?3|stable[-_ ]diffusion[-_ ]3|mmdit",
        ),
        controlnet=ControlNetSupport(
            class_name="SD3ControlNetModel",
            network="inpainting.families.sd3.controlnet:SD3ControlNetModel",
            tensors=(r"\Apos_embed_input\.proj\.", r"\Acontrolnet_blocks\.\d"),
            configuration="inpainting.families.sd3.controlnet_files:configuration",
            kinds=frozenset(),  # no Union is published
            is_converted=True,
        ),
    )
)
