"""FLUX.2 [klein]: a transformer trained by flow matching to paint and to edit, with Qwen3 as its text encoder."""

from __future__ import annotations

from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.families import register
from inpainting.families.declaration import LoraSupport, ModelFamily
from inpainting.families.flux.declaration import LORAS
from inpainting.families.layouts import Component, DiffusersLayout

FLUX2_KLEIN = register(
    ModelFamily(
        name="flux2-klein",
        label="FLUX.2 klein",
        engine=DIFFUSION,
        layout=DiffusersLayout(
            pipelines=("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
            components={
                "transformer": Component(("diffusers.Flux2Transformer2DModel",), has_weights=True),
                "vae": Component(("diffusers.AutoencoderKLFlux2",), has_weights=True),
                "text_encoder": Component(("transformers.Qwen3ForCausalLM",), has_weights=True),
                "tokenizer": Component(("transformers.Qwen2TokenizerFast", "transformers.Qwen2Tokenizer")),
                "scheduler": Component(tuple(f"diffusers.{name}" for name in FLOW_SCHEDULERS)),
            },
            component_file="inpainting.families.flux2_klein.files:KleinFile",
        ),
        implementation="inpainting.families.flux2_klein.network:Flux2Klein",
        pipeline_class="Flux2KleinInpaintPipeline",
        edits=True,
        caches_blocks=True,
        max_reference_images=4,
        overflows_float16=True,
        latent_patch=2,
        schedulers=FLOW_SCHEDULERS,
        # Of the distilled models, as on their model cards.
        defaults={
            "steps": 4,
            "guidance_scale": 1.0,
            "strength": 1.0,  # as for FLUX.1 Kontext: it takes the source image at every strength
            "scheduler": "FlowMatchEulerDiscreteScheduler",
            "width": 1024,
            "height": 1024,
        },
        # The layers of the text encoder and the noise levels are its own.
        ignored_settings=frozenset({"clip_skip", "use_karras_sigmas", "algorithm_type"}),
        lora=LoraSupport(
            components=("transformer",),
            tensors=LORAS.tensors,
            # The blocks in the original's names are also FLUX.1's, which is asked first and knows those of others.
            own_tensors=rf"{LORAS.own_tensors}|to_qkv_mlp_proj|ff(_context)?[._]linear_(in|out)"
            r"|(double|single)_stream_modulation",
            # diffusers' loader is not given alphas in its own names, nor names from before PEFT.
            not_read=r"transformer\.(.*\.alpha\Z|(?!.*\.lora_[AB]))",
            original_name="inpainting.families.flux2_klein.lora_names:original_name",
            base_models=r"klein|flux[-_. ]?2",
            other_model="inpainting.families.flux2_klein.lora_names:other_model",
        ),
    )
)
