"""The OpenVINO backend: one model compiled at one image size, computed row by row and verified against torch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inpainting.core.geometry import Size
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.openvino.conversion import DECODER, ENCODER, UNET, unet_shapes
from inpainting.engines.diffusion.backends.openvino.library import core
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

logger = logging.getLogger(__name__)

MAX_RELATIVE_ERROR = {torch.bfloat16: 0.1, torch.float32: 1e-3}
"""Largest |OpenVINO - torch| / |torch| of the first result, both in the same precision.

Measured with random weights: 0.027 for the whole UNet of Stable Diffusion 1.5 in bfloat16 (torch's own distance to
float32 is 0.011), 1e-6 in float32. A network that computes something else has an error of about 1.
"""


class OpenVinoNetwork:
    """A network compiled for one row. Its first result is compared with torch's; if they differ, torch takes over."""

    def __init__(self, what: str, path: Path, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> None:
        started = time.perf_counter()
        self.what, self.dtype = what, dtype
        self.rejection: str | None = None
        self.is_trusted = False
        model = core().read_model(path)
        model.reshape({index: list(shape) for index, shape in enumerate(shapes)})
        precision = "bf16" if dtype is torch.bfloat16 else "f32"
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        # As many threads as torch, which respects the process's CPU limit.
        compiled = core().compile_model(model, "CPU", {**options, "INFERENCE_NUM_THREADS": torch.get_num_threads()})
        self._request: Any = compiled.create_infer_request()
        logger.info("%s at %s compiled in %.1f s", path, shapes[0], time.perf_counter() - started)

    def __call__(self, inputs: Sequence[torch.Tensor], by_torch: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The output for inputs of any number of rows, in float32. by_torch: computes the same with torch."""
        if self.rejection is not None:
            return by_torch()
        try:
            output = self.compute(inputs)
        except RuntimeError as error:
            logger.exception("OpenVINO failed")
            self.reject(
                sentence(
                    "OpenVINO failed at {part} ({error}); torch computed that.",
                    part=self.what,
                    error=type(error).__name__,
                )
            )
            return by_torch()
        if not self.is_trusted:
            reference = by_torch()
            self.compare(output, reference)
            return output if self.is_trusted else reference
        return output

    def compute(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Row by row: a CPU computes several at once no faster, and so no row depends on the others."""
        arrays = [tensor.float().contiguous().numpy() for tensor in inputs]
        rows = []
        for row in range(len(arrays[0])):
            found = self._request.infer([array[row : row + 1] for array in arrays], share_inputs=True)
            rows.append(torch.from_numpy(found[0]))
        return torch.cat(rows)

    def compare(self, output: torch.Tensor, reference: torch.Tensor) -> None:
        """Trust or reject the network. Decides nothing if torch's result is not finite."""
        if not bool(torch.isfinite(reference).all()):
            return
        parts = 2 if self.what == ENCODER else 1
        pairs = zip(output.chunk(parts, dim=1), reference.float().chunk(parts, dim=1), strict=True)
        error = max(float((ours - theirs).norm() / theirs.norm().clamp(min=1e-12)) for ours, theirs in pairs)
        self.is_trusted = error <= MAX_RELATIVE_ERROR[self.dtype]  # False if the error is not a number
        logger.info("OpenVINO's %s is %.2g from torch's", self.what, error)
        if not self.is_trusted:
            self.reject(f"OpenVINO's result differed from torch's at {self.what} ({error:.2g}); torch computed that.")

    def reject(self, reason: str) -> None:
        """Let torch compute from now on."""
        logger.warning(reason)
        self.rejection, self._request = reason, None


class OpenVinoBackend(Backend):
    """Computes one model at one image size, with its LoRAs fused, by its own VAE."""

    name = "openvino"

    def __init__(
        self, unet: OpenVinoNetwork, encoder: OpenVinoNetwork, decoder: OpenVinoNetwork, byte_count: int
    ) -> None:
        self.unet, self.encoder, self.decoder = unet, encoder, decoder
        self.byte_count = byte_count

    @property
    def notes(self) -> list[str]:
        """Why torch computed some of the networks."""
        networks = (self.unet, self.encoder, self.decoder)
        return [network.rejection for network in networks if network.rejection is not None]

    @property
    def step_library(self) -> str:
        return "OpenVINO" if self.unet.rejection is None else super().step_library

    def predict(
        self,
        unet: Any,
        sample: torch.Tensor,
        timesteps: torch.Tensor,
        *,
        encoder_hidden_states: Any,
        **conditions: Any,
    ) -> torch.Tensor:
        """See `Backend.predict`. In float32."""
        inputs = [sample, unet.get_time_embed(sample, timesteps), encoder_hidden_states]
        added = conditions.get("added_cond_kwargs")
        if added is not None:
            ids = unet.add_time_proj(added["time_ids"].flatten()).reshape(len(sample), -1)
            inputs.append(torch.cat([added["text_embeds"].float(), ids.float()], dim=-1))

        def by_torch() -> torch.Tensor:
            prediction = TORCH.predict(
                unet, sample, timesteps, encoder_hidden_states=encoder_hidden_states, **conditions
            )
            return prediction.float()

        return self.unet(inputs, by_torch)

    def encode(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """See `Backend.encode`. In the dtype of the pixels, as torch gives it."""
        return self.encoder([pixels], lambda: TORCH.encode(vae, pixels)).to(pixels.dtype)

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder([latents], lambda: TORCH.decode(vae, latents)).float()


@dataclass(frozen=True, slots=True)
class CompilationPlan:
    """Shapes and dtypes of what is compiled. Read on the device's thread: the model changes while others compile.

    unet, encoder, decoder: shapes of their inputs, for one row. byte_count: memory of the compiled networks, about that
    of the weights.
    """

    unet: tuple[tuple[int, ...], ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    dtype: torch.dtype
    vae_dtype: torch.dtype
    byte_count: int

    @staticmethod
    def for_model(model: LatentModel, size: Size) -> CompilationPlan:
        height, width = size.height // VAE_SCALE_FACTOR, size.width // VAE_SCALE_FACTOR
        return CompilationPlan(
            unet=unet_shapes(model, 1, height, width),
            encoder=(1, 3, size.height, size.width),
            decoder=(1, model.vae.config.latent_channels, height, width),
            dtype=model.unet.dtype,
            vae_dtype=model.codec().dtype,
            byte_count=sum(
                tensor.nbytes for tensor in (*model.unet.state_dict().values(), *model.vae.state_dict().values())
            ),
        )


def compile_backend(plan: CompilationPlan, *, unet_folder: Path, vae_folder: Path) -> OpenVinoBackend:
    """Compile converted networks. Takes seconds and as much memory as the weights. Raises RuntimeError."""
    return OpenVinoBackend(
        OpenVinoNetwork(UNET, unet_folder / f"{UNET}.xml", plan.unet, plan.dtype),
        OpenVinoNetwork(ENCODER, vae_folder / f"{ENCODER}.xml", [plan.encoder], plan.vae_dtype),
        OpenVinoNetwork(DECODER, vae_folder / f"{DECODER}.xml", [plan.decoder], plan.vae_dtype),
        plan.byte_count,
    )
