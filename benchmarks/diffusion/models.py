"""The models under test: whole architectures from their published configurations, with random weights.

Speed does not depend on the weights. The tiny ones prove that a row runs; their figures mean nothing.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxTransformer2DModel,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from benchmarks.diffusion.measuring import timed
from benchmarks.turns import Figure, Sample
from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.flux.network import MAX_TOKENS
from inpainting.networks.device.hardware import Hardware
from tests.support import tiny_models

LOG_VARIANCE = -20.0
SCHEDULER = "DPMSolverMultistepScheduler"
PROMPT, NEGATIVE_PROMPT = "a red bus on a bridge", "blur"
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
CLIP_BIG_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32}


def sd15(scratch: Path, hardware: Hardware) -> Any:
    """Stable Diffusion 1.5 inpainting, as its `config.json` files have it."""
    words = tiny_models.tokenizer(scratch / "words")
    with torch.device(hardware.device):
        parts = {
            "unet": UNet2DConditionModel(
                in_channels=9, sample_size=64, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
                cross_attention_dim=768, attention_head_dim=8,
            ),
            "vae": _vae(512, scaling_factor=0.18215),
            "text_encoder": CLIPTextModel(_text_config(words, CLIP_L)),
        }  # fmt: skip
    return StableDiffusionInpaintPipeline(
        **parts,
        tokenizer=words,
        scheduler=tiny_models.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(scratch: Path, hardware: Hardware) -> Any:
    """SDXL inpainting 0.1, as its `config.json` files have it."""
    words = tiny_models.tokenizer(scratch / "words")
    with torch.device(hardware.device):
        parts = {
            "unet": UNet2DConditionModel(
                in_channels=9, sample_size=128, block_out_channels=(320, 640, 1280), layers_per_block=2,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), cross_attention_dim=2048,
                use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
            ),
            "vae": _vae(1024, scaling_factor=0.13025),
            "text_encoder": CLIPTextModel(_text_config(words, CLIP_L)),
            "text_encoder_2": CLIPTextModelWithProjection(
                _text_config(words, CLIP_BIG_G, hidden_act="gelu", projection_dim=1280)
            ),
        }  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    return StableDiffusionXLInpaintPipeline(
        **parts, tokenizer=words, tokenizer_2=words, scheduler=scheduler, add_watermarker=False
    )


def flux_fill(scratch: Path, hardware: Hardware) -> Any:
    """FLUX.1 Fill [dev], as its `config.json` files have it, in bfloat16: in float32 it alone would take 48 GB.

    Of the larger text encoder's 24 layers there is one: no row here is about reading.
    """
    words, pieces = tiny_models.tokenizer(scratch / "words"), tiny_models.t5_tokenizer()
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(hardware.device):
            parts = {
                "transformer": FluxTransformer2DModel(in_channels=384, out_channels=64, guidance_embeds=True),
                "vae": _vae(
                    1024, scaling_factor=0.3611, shift_factor=0.1159, latent_channels=16, use_quant_conv=False,
                    use_post_quant_conv=False,
                ),
                "text_encoder": CLIPTextModel(_text_config(words, CLIP_L)),
                "text_encoder_2": T5EncoderModel(
                    T5Config(
                        vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=1, num_heads=64,
                        feed_forward_proj="gated-gelu",
                    )
                ),
            }  # fmt: skip
    finally:
        torch.set_default_dtype(usual)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FluxFillPipeline(**parts, tokenizer=words, tokenizer_2=pieces, scheduler=scheduler)


def _vae(side: int, *, scaling_factor: float, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=side,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=scaling_factor, force_upcast=True, **{"latent_channels": 4, **more},
    )  # fmt: skip


def _text_config(words: Any, shape: dict[str, int], **more: Any) -> CLIPTextConfig:
    # The real vocabulary's size for the work it makes; of its words a tokenizer of bytes uses the first few hundred.
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    return CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, **shape, **ends, **more)


def random_pipeline(family: str, scratch: Path, hardware: Hardware, *, tiny: bool) -> Any:
    """A pipeline in float32 on the device, its weights drawn as its classes draw them, from seed 0."""
    torch.manual_seed(0)
    if tiny:
        pipeline = tiny_models.BUILDERS[family](scratch).to(hardware.device)
    else:
        pipeline = {"sd": sd15, "sdxl": sdxl, "flux-fill": flux_fill}[family](scratch, hardware)
    with torch.no_grad():
        # A trained VAE is sure of what it encodes. A random one is not, and its doubt would be drawn in each side's own
        # precision: another image for reasons that are none of the engine's.
        last = pipeline.vae.quant_conv or pipeline.vae.encoder.conv_out
        last.bias[pipeline.vae.config.latent_channels :] = LOG_VARIANCE
    for part in modules(pipeline).values():
        part.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    # As it is read from a file: other schedulers then take its values, also those that are the defaults of its class.
    config = {name: value for name, value in pipeline.scheduler.config.items() if name != "_use_default_values"}
    pipeline.scheduler = type(pipeline.scheduler).from_config(config)
    return pipeline


def modules(pipeline: Any) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def twin(pipeline: Any, dtype: torch.dtype, *, channels_last: bool = False) -> Any:
    """The same weights in a pipeline of its own, in another precision or layout."""
    parts = {name: torch.nn.Module.to(copy.deepcopy(part), dtype) for name, part in modules(pipeline).items()}
    if channels_last:
        for name in ("unet", "vae"):
            parts[name].to(memory_format=torch.channels_last)
    made = type(pipeline)(**{**pipeline.components, **parts}, **tiny_models.switches(pipeline))
    made.set_progress_bar_config(disable=True)
    return made


def compiled(pipeline: Any, hardware: Hardware) -> Any:
    """Diffusers' documented fast way: channels last and compiled blocks. Changes the pipeline in place."""
    options: dict[str, Any] = {"fullgraph": True, "dynamic": False}
    if not hardware.is_cuda:
        options["backend"] = "eager"  # only to walk the path: a CPU's code generator is not what the row is about
    # One compilation for each number of rows: none of them the general one that serves all and is slower.
    torch._dynamo.config.cache_size_limit = 64
    (pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet).compile_repeated_blocks(**options)
    return pipeline


def loaded(pipeline: Any, hardware: Hardware, spec: ModelSpec) -> Any:
    """As `model_loading.load` leaves a model: in the engine's precision."""
    family = families.get(spec.family).load_implementation()
    return family(twin(pipeline, hardware.dtype), hardware, spec)


def batcher_with(model: Any, *, max_rows: int | None = None) -> Batcher:
    """A batcher whose cache holds this one model."""
    cache = ModelCache(model.hardware, 10**15)
    cache.memory.add(model)
    return Batcher(cache, max_rows=max_rows)


def spec_of(family: str, side: int, path: Path | None = None) -> ModelSpec:
    usual = {"scheduler": SCHEDULER, **families.get(family).defaults, "width": side, "height": side}
    return ModelSpec(slug=family, label=family, family=family, path=path, **usual)


# Requests


def photo(height: int, width: int, seed: int = 0) -> CanonicalImage:
    """Soft shapes with grain."""
    drawn = np.random.default_rng(seed)
    soft = cv2.resize(drawn.integers(20, 236, (12, 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = drawn.normal(0, 6, (height // 4, width // 4)).astype(np.float32)
    noisy = soft + cv2.resize(grain, (width, height))[:, :, None]
    return CanonicalImage(noisy.clip(0, 255).astype(np.uint8))


def request(side: int, *, seed: int = 0, **settings: Any) -> InpaintRequest:
    """A square photo with a mask on the grid of the latents: there diffusers' coarser mask is the same as ours."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : 3 * side // 4, side // 8 : side // 2] = 255
    return request_for(photo(side, side, seed), mask, seed=seed, **settings)


def request_for(image: CanonicalImage, mask: NDArray[np.uint8], **settings: Any) -> InpaintRequest:
    usual = {"prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "scheduler": SCHEDULER}
    return InpaintRequest(image, mask, PaintSettings(**{**usual, "strength": 1.0, "guidance_scale": 7.5, **settings}))


def begun(model: Any, wanted: InpaintRequest) -> DenoisingState:
    """The request's first image, ready for its first step."""
    with torch.inference_mode():
        text = tiny_models.encoded(model, wanted.settings, wanted.image.size)
        denoising: DenoisingState = model.start(wanted, 0, text)[0]
    return denoising


def plain_jobs(pipeline: Any, wanted: list[InpaintRequest]) -> Any:
    """What diffusers' own pipeline paints for requests of one size and one number of steps, in one batch.

    It starts from the noise that our engine draws, so that both paint the same image in every precision.
    """
    settings, size = wanted[0].settings, wanted[0].image.size
    pipeline.scheduler, _ = schedulers.make(str(settings.scheduler), pipeline.scheduler.config)
    generators = [torch.Generator().manual_seed(item.settings.seed) for item in wanted]
    cells = (1, 4, size.height // 8, size.width // 8)
    drawn = torch.cat([torch.randn(cells, generator=generator) for generator in generators])
    return pipeline(
        prompt=[item.settings.prompt for item in wanted],
        negative_prompt=[item.settings.negative_prompt for item in wanted],
        image=[Image.fromarray(np.asarray(item.image.pixels)) for item in wanted],
        mask_image=[Image.fromarray(item.mask) for item in wanted],
        height=size.height,
        width=size.width,
        strength=settings.strength,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        generator=generators,
        latents=drawn.to(pipeline.unet.device, pipeline.unet.dtype),
    ).images


def plain_job(pipeline: Any, wanted: InpaintRequest) -> NDArray[np.uint8]:
    return np.asarray(plain_jobs(pipeline, [wanted])[0])


@dataclass(slots=True)
class Heartbeat:
    """Sees a VAE at work: the time of its calls, and the latents of the last decoding."""

    vae: Any
    hardware: Hardware
    latents: torch.Tensor | None = None
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {"encode": [], "decode": []})

    def __post_init__(self) -> None:
        self.vae.encode, self.vae.decode = self._seen("encode"), self._seen("decode")

    def _seen(self, name: str) -> Callable[..., Any]:
        call = getattr(self.vae, name)

        def seen(pixels: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            answers: list[Any] = []
            self.samples[name].append(timed(self.hardware, lambda: answers.append(call(pixels, *arguments, **options))))
            if name == "decode":
                self.latents = pixels.detach().float()
            return answers[0]

        return seen

    def seconds(self) -> Figure:
        """Of one encoding and one decoding."""
        return Figure(
            (sum(statistics.median(sample.wall for sample in samples) for samples in self.samples.values()),),
            busy=(sum(statistics.median(sample.busy for sample in samples) for samples in self.samples.values()),),
        )


# Arithmetic


@lru_cache(maxsize=64)
def _flop(family: str, part: str, cells: tuple[int, int], config: tuple[tuple[str, Any], ...]) -> float:
    kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.inference_mode():
        module = kind.from_config(dict(config))
        if part == "decode":
            module.decode(torch.empty(1, 4, *cells))
        elif part == "encode":
            module.encode(torch.empty(1, 3, *(8 * cell for cell in cells)))
        else:
            more = {}
            if family == "sdxl":
                width = module.config.projection_class_embeddings_input_dim - 6 * module.config.addition_time_embed_dim
                more["added_cond_kwargs"] = {"text_embeds": torch.empty(1, width), "time_ids": torch.empty(1, 6)}
            text = torch.empty(1, 77, module.config.cross_attention_dim)
            module(torch.empty(1, module.config.in_channels, *cells), torch.empty(1), text, **more)
    return float(counter.get_total_flops())


def flop(model: Any, part: str, size: Size) -> float:
    """Floating-point operations of one row: of the `unet`, or of the VAE's `encode` or `decode`, counted on no data."""
    config = (model.unet if part == "unet" else model.vae).config
    frozen = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in config.items())
    return _flop(model.spec.family, part, (size.height // 8, size.width // 8), frozen)


def flux_flop(model: Any, size: Size) -> float:
    """Floating-point operations of one row of the transformer of FLUX.1 Fill, counted on no data."""
    config = model.transformer.config
    patches = (size.height // 16) * (size.width // 16)
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.inference_mode():
        FluxTransformer2DModel.from_config(dict(config))(
            hidden_states=torch.empty(1, patches, config.in_channels),
            timestep=torch.empty(1),
            guidance=torch.empty(1),
            pooled_projections=torch.empty(1, config.pooled_projection_dim),
            encoder_hidden_states=torch.empty(1, MAX_TOKENS, config.joint_attention_dim),
            txt_ids=torch.empty(MAX_TOKENS, 3),
            img_ids=torch.empty(patches, 3),
        )
    return float(counter.get_total_flops())


def job_flop(model: Any, size: Size, *, steps: int, rows: int) -> float:
    """Of a whole image; the text encoder's share is under 1 %."""
    vae = flop(model, "encode", size) + flop(model, "decode", size)
    return vae + steps * rows * flop(model, "unet", size)
