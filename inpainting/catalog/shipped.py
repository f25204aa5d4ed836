"""Models and adapters that the catalog lists from the start. Their weights are not shipped."""

from __future__ import annotations

from inpainting import families
from inpainting.catalog.shipped_tools import UPSCALERS
from inpainting.catalog.specs import ControlImageKind, Kind, ModelSpec
from inpainting.core.sentences import mark, sentence
from inpainting.core.setting import DIFFUSION, ERASE
from inpainting.families.declaration import MODERATION

SD_INPAINT_MODEL = "runwayml/stable-diffusion-inpainting"
"""The model of the SD Inpainting API, by its published name; an alias below."""
MB, GB = 10**6, 10**9
OPENRAIL_M = "CreativeML OpenRAIL-M"
OPENRAIL_M_URL = "https://huggingface.co/spaces/CompVis/stable-diffusion-license"
OPENRAIL_PLUS_PLUS = "CreativeML OpenRAIL++-M"
STABILITY_LICENCE = "Stability AI Community License; gated: accept it on the hub, then set HF_TOKEN"
FLUX_DEV_LICENCE = "FLUX.1 [dev] Non-Commercial License; gated: accept it on the hub, then set HF_TOKEN"
FOOOCUS_CHECKPOINTS = (
    *("juggernautXL_v8Rundiffusion.safetensors", "juggernautXL_version6Rundiffusion.safetensors"),
    *("realisticStockPhoto_v10.safetensors", "realisticStockPhoto_v20.safetensors"),
    *("animaPencilXL_v100.safetensors", "animaPencilXL_v310.safetensors", "animaPencilXL_v500.safetensors"),
    *("bluePencilXL_v050.safetensors", "DreamShaperXL_Turbo.safetensors", "ponyDiffusionV6XL.safetensors"),
)
"""Checkpoints of Fooocus' presets, all of the family sdxl. No aliases of a row, so that an administrator may give them
to the models themselves."""

# Sizes are estimates of the files that a pull takes (fp16 where there is one); the pull itself asks the hub. The
# repositories of the first publishers of 1.5 and 2 are gone; these keep the same weights.
SHIPPED = (
    ModelSpec(
        slug="sd15-inpainting",
        label="Stable Diffusion 1.5 inpainting",
        family="sd",
        repo="stable-diffusion-v1-5/stable-diffusion-inpainting",
        variant="fp16",
        licence=OPENRAIL_M,
        licence_url=OPENRAIL_M_URL,
        size_bytes=2_130 * MB,
        memory_bytes=4 * GB,
        strength=1.0,
        aliases=(
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            SD_INPAINT_MODEL,
            "sd-legacy/stable-diffusion-inpainting",
            "stable-diffusion-inpainting",
            "sd-v1-5-inpainting",
            "sd-v1-5-inpainting.ckpt",
            "v51_inpainting",
            "lazymixv4-inpaint",
        ),
    ),
    ModelSpec(
        slug="sd2-inpainting",
        label="Stable Diffusion 2 inpainting",
        family="sd",
        repo="sd2-community/stable-diffusion-2-inpainting",
        variant="fp16",
        licence=OPENRAIL_PLUS_PLUS,
        licence_url="https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL",
        size_bytes=2_580 * MB,
        memory_bytes=4 * GB,
        strength=1.0,
        aliases=(
            "sd2-community/stable-diffusion-2-inpainting",
            "stabilityai/stable-diffusion-2-inpainting",
            "stable-diffusion-2-inpainting",
        ),
    ),
    ModelSpec(
        slug="sdxl-inpainting",
        label="SDXL inpainting 0.1",
        family="sdxl",
        repo="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        variant="fp16",
        licence=OPENRAIL_PLUS_PLUS,
        licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        size_bytes=6_940 * MB,
        memory_bytes=11 * GB,
        # As on its model card.
        steps=20,
        guidance_scale=8.0,
        strength=0.99,
        width=1024,
        height=1024,
        aliases=("diffusers/stable-diffusion-xl-1.0-inpainting-0.1", "stable-diffusion-xl-1.0-inpainting-0.1"),
    ),
    ModelSpec(
        slug="sd15",
        label="Stable Diffusion 1.5",
        family="sd",
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        variant="fp16",
        licence=OPENRAIL_M,
        licence_url=OPENRAIL_M_URL,
        size_bytes=2_130 * MB,
        memory_bytes=4 * GB,
        aliases=(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "runwayml/stable-diffusion-v1-5",
            "sd-legacy/stable-diffusion-v1-5",
            "stable-diffusion-v1-5",
            "v1-5-pruned-emaonly.safetensors",
            "v1-5-pruned-emaonly-fp16.safetensors",
        ),
    ),
    ModelSpec(
        slug="sdxl",
        label="SDXL base 1.0",
        family="sdxl",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        variant="fp16",
        licence=OPENRAIL_PLUS_PLUS,
        licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        size_bytes=6_940 * MB,
        memory_bytes=11 * GB,
        guidance_scale=7.0,
        width=1024,
        height=1024,
        aliases=(
            "stabilityai/stable-diffusion-xl-base-1.0",
            "stable-diffusion-xl-base-1.0",
            "sd_xl_base_1.0.safetensors",
            "sd_xl_base_1.0_0.9vae.safetensors",
        ),
    ),
    # In bfloat16: the transformer has 11.9 billion numbers, the larger text encoder 4.8.
    ModelSpec(
        slug="flux-fill",
        label="FLUX.1 Fill [dev]",
        family="flux-fill",
        repo="black-forest-labs/FLUX.1-Fill-dev",
        licence=FLUX_DEV_LICENCE,
        licence_url="https://huggingface.co/black-forest-labs/FLUX.1-Fill-dev/blob/main/LICENSE.md",
        size_bytes=33_800 * MB,
        memory_bytes=38 * GB,
        aliases=(
            *("black-forest-labs/FLUX.1-Fill-dev", "FLUX.1-Fill-dev", "flux1-fill-dev.safetensors"),
            *("fluxdev", "flux"),  # ModelsLab's names
        ),
        **families.get("flux-fill").defaults,
    ),
    ModelSpec(
        slug="flux-kontext",
        label="FLUX.1 Kontext [dev]",
        family="flux-kontext",
        repo="black-forest-labs/FLUX.1-Kontext-dev",
        licence=FLUX_DEV_LICENCE,
        licence_url="https://huggingface.co/black-forest-labs/FLUX.1-Kontext-dev/blob/main/LICENSE.md",
        size_bytes=33_800 * MB,
        memory_bytes=38 * GB,
        aliases=("black-forest-labs/FLUX.1-Kontext-dev", "FLUX.1-Kontext-dev", "flux1-kontext-dev.safetensors"),
        **families.get("flux-kontext").defaults,
    ),
    *(
        ModelSpec(
            slug=slug,
            label=label,
            family="flux-dev",
            repo=f"black-forest-labs/{name}",
            licence=FLUX_DEV_LICENCE,
            licence_url=f"https://huggingface.co/black-forest-labs/{name}/blob/main/LICENSE.md",
            size_bytes=33_800 * MB,
            memory_bytes=38 * GB,
            aliases=(f"black-forest-labs/{name}", name, f"{slug.replace('flux', 'flux1')}.safetensors"),
            **{**families.get("flux-dev").defaults, "guidance_scale": guidance_scale},
        )
        for slug, label, name, guidance_scale in (
            ("flux-dev", "FLUX.1 [dev]", "FLUX.1-dev", 3.5),
            ("flux-krea-dev", "FLUX.1 Krea [dev]", "FLUX.1-Krea-dev", 4.5),
        )
    ),
    ModelSpec(
        slug="flux-schnell",
        label="FLUX.1 [schnell]",
        family="flux-dev",
        repo="black-forest-labs/FLUX.1-schnell",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/black-forest-labs/FLUX.1-schnell",
        size_bytes=33_800 * MB,
        memory_bytes=38 * GB,
        aliases=("black-forest-labs/FLUX.1-schnell", "FLUX.1-schnell", "flux1-schnell.safetensors"),
        **{**families.get("flux-dev").defaults, "steps": 4},
    ),
    # In bfloat16: the transformer has 8.9 billion numbers, the text encoder 4.8.
    ModelSpec(
        slug="chroma",
        label="Chroma1-HD",
        family="chroma",
        repo="lodestones/Chroma1-HD",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/lodestones/Chroma1-HD",
        size_bytes=27_500 * MB,
        memory_bytes=31 * GB,
        aliases=("lodestones/Chroma1-HD", "Chroma1-HD", "Chroma1-HD.safetensors"),
        **families.get("chroma").defaults,
    ),
    # In bfloat16: the transformer has 3.9 billion numbers, the text encoder 4.0, the VAE 0.1. One row is distilled, the
    # other is what it was distilled from.
    ModelSpec(
        slug="flux2-klein-4b",
        label="FLUX.2 [klein] 4B",
        family="flux2-klein",
        repo="black-forest-labs/FLUX.2-klein-4B",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/black-forest-labs/FLUX.2-klein-4B",
        size_bytes=16_000 * MB,
        memory_bytes=19 * GB,
        aliases=("black-forest-labs/FLUX.2-klein-4B", "FLUX.2-klein-4B", "flux-2-klein-4b.safetensors"),
        **families.get("flux2-klein").defaults,
    ),
    ModelSpec(
        slug="flux2-klein-base-4b",
        label="FLUX.2 [klein] base 4B",
        family="flux2-klein",
        repo="black-forest-labs/FLUX.2-klein-base-4B",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/black-forest-labs/FLUX.2-klein-base-4B",
        size_bytes=16_000 * MB,
        memory_bytes=19 * GB,
        aliases=(
            "black-forest-labs/FLUX.2-klein-base-4B",
            "FLUX.2-klein-base-4B",
            "flux-2-klein-base-4b.safetensors",
        ),
        **{**families.get("flux2-klein").defaults, "steps": 50, "guidance_scale": 4.0},
    ),
    # In bfloat16: the transformer has 6.2 billion numbers, published in float32 for Turbo, and the text encoder 4.0.
    ModelSpec(
        slug="z-image-turbo",
        label="Z-Image-Turbo",
        family="z-image",
        repo="Tongyi-MAI/Z-Image-Turbo",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/Tongyi-MAI/Z-Image-Turbo",
        size_bytes=32_900 * MB,
        memory_bytes=24 * GB,
        aliases=("Tongyi-MAI/Z-Image-Turbo", "Z-Image-Turbo", "z_image_turbo_bf16.safetensors"),
        **families.get("z-image").defaults,
    ),
    ModelSpec(
        slug="z-image",
        label="Z-Image",
        family="z-image",
        repo="Tongyi-MAI/Z-Image",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/Tongyi-MAI/Z-Image",
        size_bytes=20_500 * MB,
        memory_bytes=24 * GB,
        aliases=("Tongyi-MAI/Z-Image",),
        **{**families.get("z-image").defaults, "steps": 50, "guidance_scale": 5.0},
    ),
    # In bfloat16: 20.4 billion numbers of the transformer, 8.3 of the text encoder, 0.1 of the VAE.
    ModelSpec(
        slug="qwen-image",
        label="Qwen-Image",
        family="qwen-image",
        repo="Qwen/Qwen-Image",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/Qwen/Qwen-Image",
        size_bytes=57_700 * MB,
        memory_bytes=62 * GB,
        aliases=("Qwen/Qwen-Image", "Qwen-Image", "qwen_image_bf16.safetensors"),
        **families.get("qwen-image").defaults,
    ),
    *(
        ModelSpec(
            slug=f"qwen-image-edit-{year_month}",
            label=f"Qwen-Image-Edit {year_month}",
            family="qwen-image-edit",
            repo=f"Qwen/Qwen-Image-Edit-{year_month}",
            licence="Apache-2.0",
            licence_url=f"https://huggingface.co/Qwen/Qwen-Image-Edit-{year_month}",
            size_bytes=57_700 * MB,
            memory_bytes=62 * GB,
            aliases=(
                f"Qwen/Qwen-Image-Edit-{year_month}",
                f"Qwen-Image-Edit-{year_month}",
                f"qwen_image_edit_{year_month}_bf16.safetensors",
            ),
            **families.get("qwen-image-edit").defaults,
        )
        for year_month in ("2509", "2511")
    ),
    # In bfloat16: the transformer has 2.5 or 8.1 billion numbers, the text encoders 5.6, the VAE 0.1.
    *(
        ModelSpec(
            slug=slug,
            label=label,
            family="sd3",
            repo=f"stabilityai/{name}",
            licence=STABILITY_LICENCE,
            licence_url=f"https://huggingface.co/stabilityai/{name}/blob/main/LICENSE.md",
            size_bytes=size_bytes,
            memory_bytes=memory_bytes,
            aliases=(f"stabilityai/{name}", name, f"{file}.safetensors"),
            **{**families.get("sd3").defaults, "steps": steps, "guidance_scale": guidance_scale},
        )
        for slug, label, name, file, size_bytes, memory_bytes, steps, guidance_scale in (
            (
                *("sd35-medium", "Stable Diffusion 3.5 Medium", "stable-diffusion-3.5-medium", "sd3.5_medium"),
                *(16_300 * MB, 19 * GB, 40, 4.5),
            ),
            (
                *("sd35-large", "Stable Diffusion 3.5 Large", "stable-diffusion-3.5-large", "sd3.5_large"),
                *(27_600 * MB, 31 * GB, 28, 3.5),
            ),
            (
                *("sd35-large-turbo", "Stable Diffusion 3.5 Large Turbo", "stable-diffusion-3.5-large-turbo"),
                *("sd3.5_large_turbo", 27_600 * MB, 31 * GB, 4, 1.0),
            ),
        )
    ),
    # One ONNX file each. Big-LaMa (R. Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier
    # Convolutions", WACV 2022) as Carve exported it; MI-GAN (A. Sargsyan et al., ICCV 2023) from its first author.
    ModelSpec(
        slug="lama",
        label="LaMa",
        family="lama",
        repo="Carve/LaMa-ONNX",
        variant="lama_fp32",
        licence="Apache-2.0",
        licence_url="https://github.com/advimman/lama/blob/main/LICENSE",
        size_bytes=208_044_816,
        memory_bytes=GB,
        aliases=("Carve/LaMa-ONNX", "big-lama"),
    ),
    ModelSpec(
        slug="migan",
        label="MI-GAN",
        family="migan",
        repo="andraniksargsyan/migan",
        variant="migan_pipeline_v2",
        licence="MIT",
        licence_url="https://github.com/Picsart-AI-Research/MI-GAN/blob/main/LICENSE",
        size_bytes=28_079_181,
        memory_bytes=500 * MB,
        aliases=("andraniksargsyan/migan", "mi-gan"),
    ),
    # CLIP ViT-L/14 and seventeen concepts that it compares an image with; published beside Stable Diffusion 1.
    ModelSpec(
        slug="safety-checker",
        label="Safety checker",
        family="safety-checker",
        repo="CompVis/stable-diffusion-safety-checker",
        licence="not stated by its publisher",
        licence_url="https://huggingface.co/CompVis/stable-diffusion-safety-checker",
        size_bytes=608 * MB,
        memory_bytes=1_300 * MB,
        aliases=("CompVis/stable-diffusion-safety-checker",),
    ),
)
"""Nothing of these is downloaded before a pull. Messages recommend the first of each engine."""

SHIPPED_ADAPTERS = (
    *(
        ModelSpec(slug=slug, label=label, family=family, kind=Kind.VAE, repo=repo, licence="MIT", size_bytes=size_bytes)
        for slug, label, family, repo, size_bytes in (
            ("sd-vae-ft-mse", "VAE ft-MSE", "sd", "stabilityai/sd-vae-ft-mse", 335 * MB),
            ("sdxl-vae-fp16-fix", "SDXL VAE fp16 fix", "sdxl", "madebyollin/sdxl-vae-fp16-fix", 335 * MB),
            ("taesd", "TAESD, a tiny VAE", "sd", "madebyollin/taesd", 10 * MB),
            ("taesdxl", "TAESDXL, a tiny VAE", "sdxl", "madebyollin/taesdxl", 10 * MB),
        )
    ),
    *(
        ModelSpec(
            slug=f"controlnet-{control}-sd15",
            label=f"ControlNet {control} for Stable Diffusion 1.5",
            family="sd",
            kind=Kind.CONTROLNET,
            control=control,
            repo=f"lllyasviel/{name}",
            variant="fp16",
            licence=OPENRAIL_M,
            licence_url=OPENRAIL_M_URL,
            size_bytes=size_bytes,
            aliases=(f"lllyasviel/{name}", name),
        )
        for control, name, size_bytes in (
            (ControlImageKind.INPAINT, "control_v11p_sd15_inpaint", 723 * MB),
            (ControlImageKind.CANNY, "control_v11p_sd15_canny", 723 * MB),
            (ControlImageKind.DEPTH, "control_v11f1p_sd15_depth", 723 * MB),
            (ControlImageKind.SCRIBBLE, "control_v11p_sd15_scribble", 723 * MB),
            (ControlImageKind.TILE, "control_v11f1e_sd15_tile", 1_445 * MB),  # published in float32 alone
        )
    ),
    *(
        ModelSpec(
            slug=f"controlnet-{control}-sdxl",
            label=f"ControlNet {control} for SDXL",
            family="sdxl",
            kind=Kind.CONTROLNET,
            control=control,
            repo=f"diffusers/controlnet-{control}-sdxl-1.0",
            variant="fp16",
            licence=OPENRAIL_PLUS_PLUS,
            size_bytes=2_500 * MB,
            aliases=(f"diffusers/controlnet-{control}-sdxl-1.0",),
        )
        for control in (ControlImageKind.CANNY, ControlImageKind.DEPTH)
    ),
    *(
        ModelSpec(
            slug=f"controlnet-{name}-sd35-large",
            label=f"ControlNet {name} for Stable Diffusion 3.5 Large",
            family="sd3",
            kind=Kind.CONTROLNET,
            control=control,
            repo=f"stabilityai/stable-diffusion-3.5-large-controlnet-{name}",
            licence=STABILITY_LICENCE,
            licence_url=(
                f"https://huggingface.co/stabilityai/stable-diffusion-3.5-large-controlnet-{name}/blob/main/LICENSE.md"
            ),
            size_bytes=8_610 * MB,  # published in float32 alone
            aliases=(f"stabilityai/stable-diffusion-3.5-large-controlnet-{name}",),
        )
        for name, control in (
            ("canny", ControlImageKind.CANNY),
            ("depth", ControlImageKind.DEPTH),
            ("blur", ControlImageKind.TILE),
        )
    ),
    ModelSpec(
        slug="controlnet-inpaint-sd3",
        label="ControlNet inpaint for Stable Diffusion 3",
        family="sd3",
        kind=Kind.CONTROLNET,
        control=ControlImageKind.INPAINT,
        repo="alimama-creative/SD3-Controlnet-Inpainting",
        licence="as of Stable Diffusion 3, from which it was trained",
        licence_url="https://huggingface.co/alimama-creative/SD3-Controlnet-Inpainting",
        size_bytes=4_160 * MB,
        aliases=("alimama-creative/SD3-Controlnet-Inpainting",),
    ),
    *(
        ModelSpec(
            slug=slug,
            label=label,
            family=family,
            kind=Kind.IP_ADAPTER,
            repo="h94/IP-Adapter",
            variant=slug,
            licence="Apache-2.0",
            size_bytes=size_bytes,
        )
        for slug, label, family, size_bytes in (
            ("ip-adapter_sd15", "IP-Adapter for Stable Diffusion 1.5", "sd", 2_572 * MB),
            ("ip-adapter-plus-face_sd15", "IP-Adapter Plus Face for Stable Diffusion 1.5", "sd", 2_626 * MB),
            ("ip-adapter_sdxl", "IP-Adapter for SDXL", "sdxl", 4_393 * MB),
            ("ip-adapter-plus_sdxl_vit-h", "IP-Adapter Plus for SDXL", "sdxl", 3_375 * MB),
            ("ip-adapter-plus-face_sdxl_vit-h", "IP-Adapter Plus Face for SDXL", "sdxl", 3_375 * MB),
        )
    ),
    ModelSpec(
        slug="flux-redux",
        label="FLUX.1 Redux [dev]",
        family="flux-dev",
        kind=Kind.IP_ADAPTER,
        repo="black-forest-labs/FLUX.1-Redux-dev",
        variant="flux1-redux-dev",
        licence=FLUX_DEV_LICENCE,
        licence_url="https://huggingface.co/black-forest-labs/FLUX.1-Redux-dev/blob/main/LICENSE.md",
        size_bytes=986 * MB,
        aliases=("black-forest-labs/FLUX.1-Redux-dev",),
    ),
)
"""VAEs; ControlNets (L. Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models", ICCV 2023);
IP-Adapters (H. Ye et al. 2023, arXiv 2308.06721), by the names that clients of other services send."""


SAFETENSORS_REVISIONS = {
    "CompVis/stable-diffusion-safety-checker": "1664e306d2258485321cbbd8083074c9474d4e41",
    "lllyasviel/control_v11f1e_sd15_tile": "7e2607811c97dc77a6c98a4256bb7a44f5abc8b3",
    "Salesforce/blip-image-captioning-base": "9cfcdbcaccbcadb2b53b36d4b50042c4eeaa0c25",
}
"""Repositories whose newest revision holds a pickle alone -> the revision of a pull request on the hub that adds the
weights as safetensors and has not been merged."""

SHIPPED_ALIASES = {spec.slug: spec.aliases for spec in (*SHIPPED, *SHIPPED_ADAPTERS, *UPSCALERS)}
SHIPPED_ALIASES["sdxl"] += FOOOCUS_CHECKPOINTS
"""Slug -> names that stand for the model where no row has them as alias."""

NONE_INSTALLED = {
    DIFFUSION: mark("No diffusion model is installed; “python manage.py pull_model {slug}” gets one."),
    ERASE: mark("No model for erasing is installed; “python manage.py pull_model {slug}” gets one."),
    MODERATION: mark("No safety checker is installed; “python manage.py pull_model {slug}” gets one."),
}
"""Engine -> the message where no model of it is installed."""


def models_of_family(family: str) -> list[ModelSpec]:
    """Return the shipped models of a family."""
    return [spec for spec in SHIPPED if spec.family == family]


def no_model_message(engine: str = DIFFUSION) -> str:
    """Return the message for a request to an engine of which no model is installed."""
    slug = next(spec.slug for spec in SHIPPED if families.get(spec.family).engine == engine)
    return sentence(NONE_INSTALLED[engine], slug=slug)
