"""Stable Diffusion 1 and 2: a UNet on four latent channels and one CLIP text encoder."""

from __future__ import annotations

from inpainting.core.sentences import sentence
from inpainting.core.setting import DIFFUSION
from inpainting.families import register
from inpainting.families.declaration import EmbeddingSupport, LoraSupport, ModelFamily
from inpainting.families.layouts import Component, DiffusersLayout

SCHEDULERS = tuple(
    f"diffusers.{name}"
    for name in (
        *("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler"),
        *("EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
        *("DPMSolverSDEScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "IPNDMScheduler"),
        *("KDPM2AncestralDiscreteScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler", "LCMScheduler"),
        *("DDIMInverseScheduler", "TCDScheduler"),
    )
)
"""Classes that the models are saved with."""
COMPONENTS = {
    "unet": Component(("diffusers.UNet2DConditionModel",), has_weights=True),
    "vae": Component(("diffusers.AutoencoderKL",), has_weights=True),
    "text_encoder": Component(("transformers.CLIPTextModel",), has_weights=True),
    "tokenizer": Component(("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast")),
    "scheduler": Component(SCHEDULERS),
    "safety_checker": Component(
        ("stable_diffusion.StableDiffusionSafetyChecker",), is_required=False, has_weights=True, is_loaded=False
    ),
    "feature_extractor": Component(
        (
            *("transformers.CLIPImageProcessor", "transformers.CLIPFeatureExtractor"),
            *("transformers.CLIPImageProcessorFast", "transformers.CLIPImageProcessorPil"),
        ),
        is_required=False,
        is_loaded=False,
    ),
    "controlnet": Component(("diffusers.ControlNetModel",), is_required=False, has_weights=True, is_loaded=False),
    "image_encoder": Component(
        ("transformers.CLIPVisionModelWithProjection",), is_required=False, has_weights=True, is_loaded=False
    ),
}
CHECKPOINT_PARTS = {"model.diffusion_model.": "unet", "first_stage_model.": "vae"}
"""Prefixes of tensors in checkpoints of one file."""
REFUSALS = {
    r"EDM|edm_": sentence(
        "the mark of a model trained with the continuous noise of EDM (Karras et al. 2022, arXiv 2206.00364), "
        "which no scheduler here supports."
    )
}
LORA_TENSORS = r"base_model\.model\.|(unet|text_encoder(_2)?)\.|lora_(unet|te[12]?)_"
"""Beginnings of the names by diffusers, PEFT and kohya-ss."""
FEW_STEP_KINDS = frozenset({"lcm", "lightning", "hyper", "turbo", "dmd2", "pcm", "tcd"})
"""Of LoRAs for the families with a UNet; see `LoraSupport.few_step_kinds`."""
ORIGINAL_NAME = "inpainting.families.sd.lora_names:original_name"

SD = register(
    ModelFamily(
        name="sd",
        label="Stable Diffusion",
        engine=DIFFUSION,
        layout=DiffusersLayout(
            pipelines=(
                *("StableDiffusionPipeline", "StableDiffusionInpaintPipeline", "StableDiffusionImg2ImgPipeline"),
                *("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"),
                *("StableDiffusionControlNetPipeline", "StableDiffusionControlNetInpaintPipeline"),
                "StableDiffusionControlNetImg2ImgPipeline",
            ),
            components=COMPONENTS,
            checkpoint_prefix="",
            checkpoint_parts={**CHECKPOINT_PARTS, "cond_stage_model.": ""},
            refusals=REFUSALS,
        ),
        implementation="inpainting.families.sd.network:StableDiffusion",
        pipeline_class="StableDiffusionInpaintPipeline",
        # Generated images are checked apart from the pipeline, whichever engine made them (`engines.moderation`).
        pipeline_arguments={
            "safety_checker": None,
            "requires_safety_checker": False,
            "feature_extractor": None,
            "image_encoder": None,
        },
        defaults={"width": 512, "height": 512},
        reads_prompt_weights=True,
        text_features={768: "sd15-inpainting", 1024: "sd2-inpainting"},
        configurations={768: ("sd15",), 1024: ("sd2", "sd2-v")},
        latent_channels=4,
        vae_scaling_factor=0.18215,
        vae_names=r"(?<![a-z])sd[-_ .]?v?[12](?!\d)|ft[-_](mse|ema)|kl[-_]?f8|840000|560000",
        vae_configuration="sd15",
        lora=LoraSupport(
            components=("unet", "text_encoder"),
            tensors=LORA_TENSORS,
            own_tensors=r"\Alora_te_",
            original_name=ORIGINAL_NAME,
            base_models=r"\bsd[-_ ]?v?[12]|stable[-_ ]diffusion[-_ ]v?[12]|\bv(1-[1-5]|2-[01])\b",
            few_step_kinds=FEW_STEP_KINDS,
        ),
        embedding=EmbeddingSupport(widths=(frozenset({768, 1024}),)),
        preview_decoder="taesd",
    )
)
