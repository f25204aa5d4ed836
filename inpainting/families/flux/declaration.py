"""What the families of FLUX.1 share: transformers trained by flow matching (Lipman et al. 2022, arXiv 2210.02747)."""

from __future__ import annotations

from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS, GUIDANCE_SETTINGS
from inpainting.families.declaration import ControlNetSupport, ImagePromptSupport, LoraSupport, ModelFamily
from inpainting.families.layouts import Component, DiffusersLayout

CONFIGURATIONS = "parts/flux"
"""The name in `catalog.configurations` of those that a transformer lacks. Z-Image has the same VAE."""
LORAS = LoraSupport(
    family="flux-fill",
    components=("transformer", "text_encoder"),
    tensors=r"(?!.*((down|up|input|output)_blocks|mid(dle)?_block)[._])"  # which are a UNet's
    r"(transformer\.|text_encoder\.|text_encoders\.(clip_l|t5xxl)\.|diffusion_model\.|base_model\.model\."
    r"|lora_(unet|transformer|te[123]?)_|lycoris_)",
    own_tensors=r"single_transformer_blocks|(double|single)_blocks[._]\d",
    # In diffusers' names the alphas, and names from before PEFT; in those of the original all outside the blocks.
    not_read=r"transformer\.(single_)?transformer_blocks\.(.*\.alpha\Z|(?!.*\.lora_[AB]))|lora_unet_(double|single)_blocks"
    r"|diffusion_model\.(double_blocks|single_blocks|(img|txt|time|vector|guidance)_in|final_layer)",
    original_name="inpainting.families.flux.lora_names:original_name",
    base_models=r"flux[-_. ]?1|\bflux[-_ ]?(dev|schnell)",
    other_model="inpainting.families.flux.other_loras:other_model",
    few_step_kinds=frozenset({"hyper", "turbo"}),
)
"""One object, which the families share."""
REDUX = ImagePromptSupport(
    family="flux-dev",
    label="FLUX.1 Redux",
    tensors=frozenset({f"redux_{way}.{name}" for way in ("up", "down") for name in ("weight", "bias")}),
    encoder_class="SiglipVisionModel",
    pipeline_class="FluxPriorReduxPipeline",
    load="inpainting.families.flux.image_prompts:load",
)
"""For [dev], [schnell] and Fill, which read a prompt alike; Kontext takes reference images in its place."""


def flux_family(
    *,
    name: str,
    label: str,
    implementation: str,
    pipelines: tuple[str, ...],
    pipeline_class: str,
    channels: int,
    steps: int,
    guidance_scale: float,
    strength: float = 1.0,
    edits: bool = False,
    fills: bool = False,
    max_reference_images: int = 0,
    controlnet: ControlNetSupport | None = None,
    image_prompts: ImagePromptSupport | None = None,
) -> ModelFamily:
    """Return the declaration of a family of FLUX.1, which differs from the others in these arguments alone.

    channels: of a latent pixel, as the transformer takes it. strength: the default; 1 for models that were trained with
    the rest of the image as a condition, as in diffusers' pipelines. The others are described at `ModelFamily`.
    """
    layout = DiffusersLayout(
        pipelines=pipelines,
        components={
            "transformer": Component(("diffusers.FluxTransformer2DModel",), has_weights=True),
            "vae": Component(("diffusers.AutoencoderKL",), has_weights=True),
            "text_encoder": Component(("transformers.CLIPTextModel",), has_weights=True),
            "text_encoder_2": Component(("transformers.T5EncoderModel",), has_weights=True),
            "tokenizer": Component(("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast")),
            "tokenizer_2": Component(("transformers.T5TokenizerFast", "transformers.T5Tokenizer")),
            "scheduler": Component(tuple(f"diffusers.{name}" for name in FLOW_SCHEDULERS)),
        },
        component_file="inpainting.families.flux.files:FluxFile",
        file_channels=4 * channels,  # patches of 2x2 latents
    )
    return ModelFamily(
        name=name,
        label=label,
        engine=DIFFUSION,
        layout=layout,
        implementation=implementation,
        pipeline_class=pipeline_class,
        edits=edits,
        caches_blocks=True,
        fills=fills,
        max_reference_images=max_reference_images,
        overflows_float16=True,
        latent_patch=2,
        schedulers=FLOW_SCHEDULERS,
        max_guidance_scale=100.0,  # distilled with guidance, it takes the scale as an input
        defaults={
            "steps": steps,
            "guidance_scale": guidance_scale,
            "strength": strength,
            "scheduler": "FlowMatchEulerDiscreteScheduler",
            "width": 1024,
            "height": 1024,
        },
        # No unconditional pass to replace; of CLIP only the pooled output is read; its noise levels are its own.
        ignored_settings=GUIDANCE_SETTINGS | {"clip_skip", "use_karras_sigmas", "algorithm_type"},
        guidance_input="guidance_embeds",
        latent_channels=16,
        vae_scaling_factor=0.3611,
        vae_configuration=CONFIGURATIONS,
        lora=LORAS,
        controlnet=controlnet,
        image_prompts=image_prompts,
        preview_decoder="taef1",
    )
