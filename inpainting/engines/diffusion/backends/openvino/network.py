"""One model at one size, compiled: computes what its UNet and VAE would, one row after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from inpainting.core.geometry import Size
from inpainting.engines.diffusion.backends.openvino.conversion import DECODER, ENCODER, UNET, tokens_of
from inpainting.engines.diffusion.backends.openvino.library import core
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

logger = logging.getLogger(__name__)

MAX_RELATIVE_ERROR = {torch.bfloat16: 0.1, torch.float32: 1e-3}
"""How far from torch's answer, in the same precision, the first one may be: |ours - torch's| / |torch's|.

Measured with random weights: 0.027 for the whole UNet of Stable Diffusion 1.5 in bfloat16 (torch's own distance to
float32 is 0.011), 1e-6 in float32. A network that computes something else is off by about 1.
"""


class CompiledNetwork:
    """A compiled network of one row, trusted when the first answer is torch's; else torch answers for good."""

    def __init__(self, what: str, path: Path, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> None:
        started = time.perf_counter()
        self.what, self.dtype = what, dtype
        self.rejection: str | None = None
        self.is_trusted = False
        model = core().read_model(path)
        model.reshape({index: list(shape) for index, shape in enumerate(shapes)})
        precision = "bf16" if dtype is torch.bfloat16 else "f32"
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        # As many threads as torch has: it knows what it was allowed.
        compiled = core().compile_model(model, "CPU", {**options, "INFERENCE_NUM_THREADS": torch.get_num_threads()})
        self._request: Any = compiled.create_infer_request()
        logger.info("%s at %s compiled in %.1f s", path, shapes[0], time.perf_counter() - started)

    def __call__(self, inputs: Sequence[torch.Tensor], by_torch: Callable[[], torch.Tensor]) -> torch.Tensor:
        """For inputs of any number of rows, the answer in float32."""
        if self.rejection is not None:
            return by_torch()
        try:
            ours = self.compute(inputs)
        except RuntimeError as error:
            logger.exception("OpenVINO failed")
            self.reject(f"OpenVINO failed at {self.what} ({type(error).__name__}); torch computed that.")
            return by_torch()
        if not self.is_trusted:
            theirs = by_torch()
            self.compare(ours, theirs)
            return ours if self.is_trusted else theirs
        return ours

    def compute(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Row by row: several at once are no faster on a processor, and so none depends on its company."""
        arrays = [tensor.float().contiguous().numpy() for tensor in inputs]
        rows = []
        for row in range(len(arrays[0])):
            found = self._request.infer([array[row : row + 1] for array in arrays], share_inputs=True)
            rows.append(torch.from_numpy(found[0]))
        return torch.cat(rows)

    def compare(self, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        if not bool(torch.isfinite(theirs).all()):
            return  # not the picture to learn from
        parts = 2 if self.what == ENCODER else 1
        pairs = zip(ours.chunk(parts, dim=1), theirs.float().chunk(parts, dim=1), strict=True)
        error = max(float((mine - its).norm() / its.norm().clamp(min=1e-12)) for mine, its in pairs)
        self.is_trusted = error <= MAX_RELATIVE_ERROR[self.dtype]  # not so for what is not a number
        logger.info("OpenVINO's %s is %.2g from torch's", self.what, error)
        if not self.is_trusted:
            self.reject(f"OpenVINO's result differed from torch's at {self.what} ({error:.2g}); torch computed that.")

    def reject(self, reason: str) -> None:
        logger.warning(reason)
        self.rejection, self._request = reason, None


class OpenVinoBackend:
    """A model at a size, with its LoRAs. Whatever of it fails or is not trusted is torch's again, for good."""

    def __init__(
        self, unet: CompiledNetwork, encoder: CompiledNetwork, decoder: CompiledNetwork, byte_count: int
    ) -> None:
        self.unet, self.encoder, self.decoder = unet, encoder, decoder
        self.byte_count = byte_count
        self.used = 0
        """When, in a count of uses."""

    @property
    def notes(self) -> list[str]:
        """About what torch had to do."""
        return [part.rejection for part in (self.unet, self.encoder, self.decoder) if part.rejection is not None]

    @property
    def computes(self) -> bool:
        """Whether the UNet's steps, which are nearly all of the work, are its own."""
        return self.unet.rejection is None

    def predict(
        self, unet: Any, sample: torch.Tensor, times: torch.Tensor, *, encoder_hidden_states: torch.Tensor, **more: Any
    ) -> tuple[torch.Tensor]:
        """What the UNet answers, in float32. Takes and gives what a UNet does that is asked for no dictionary."""
        inputs = [sample, unet.get_time_embed(sample, times), encoder_hidden_states]
        added = more.get("added_cond_kwargs")
        if added is not None:
            ids = unet.add_time_proj(added["time_ids"].flatten()).reshape(len(sample), -1)
            inputs.append(torch.cat([added["text_embeds"].float(), ids.float()], dim=-1))

        def by_torch() -> torch.Tensor:
            answer = unet(sample, times, encoder_hidden_states=encoder_hidden_states, **more)
            return torch.as_tensor(answer[0].float())

        return (self.unet(inputs, by_torch),)

    def encode(self, vae: Any, pixels: torch.Tensor) -> DiagonalGaussianDistribution:
        """What latents are drawn from, in the type of the pixels: the draws are made in it."""
        found = self.encoder([pixels], lambda: vae.encode(pixels).latent_dist.parameters)
        return DiagonalGaussianDistribution(found.to(pixels.dtype))

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder([latents], lambda: vae.decode(latents, return_dict=False)[0]).float()


@dataclass(frozen=True, slots=True)
class CompilationPlan:
    """What is to be compiled of a model at one size. Read by who owns the model: it changes while others compile.

    unet, encoder, decoder: the shapes of their inputs, of one row. byte_count: what it takes compiled, as much as the
    weights it is made from.
    """

    unet: tuple[tuple[int, ...], ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    dtype: torch.dtype
    encoding_dtype: torch.dtype
    decoding_dtype: torch.dtype
    byte_count: int

    @staticmethod
    def of(model: Any, size: Size) -> CompilationPlan:
        height, width = size.height // VAE_SCALE_FACTOR, size.width // VAE_SCALE_FACTOR
        unet, config = model.unet, model.unet.config
        shapes: list[tuple[int, ...]] = [
            (1, config.in_channels, height, width),
            (1, unet.time_embedding.linear_1.in_features),
            (1, tokens_of(model), config.cross_attention_dim),
        ]
        if config.addition_embed_type is not None:
            shapes.append((1, config.projection_class_embeddings_input_dim))
        return CompilationPlan(
            unet=tuple(shapes),
            encoder=(1, 3, size.height, size.width),
            decoder=(1, model.vae.config.latent_channels, height, width),
            dtype=unet.dtype,
            encoding_dtype=model.encoding_dtype,
            decoding_dtype=model.decoding_dtype,
            byte_count=sum(
                tensor.nbytes for tensor in (*model.unet.state_dict().values(), *model.vae.state_dict().values())
            ),
        )


def compiled(plan: CompilationPlan, *, unet_folder: Path, vae_folder: Path) -> OpenVinoBackend:
    """Takes seconds and as much memory as the weights. Raises RuntimeError."""
    return OpenVinoBackend(
        CompiledNetwork(UNET, unet_folder / f"{UNET}.xml", plan.unet, plan.dtype),
        CompiledNetwork(ENCODER, vae_folder / f"{ENCODER}.xml", [plan.encoder], plan.encoding_dtype),
        CompiledNetwork(DECODER, vae_folder / f"{DECODER}.xml", [plan.decoder], plan.decoding_dtype),
        plan.byte_count,
    )
