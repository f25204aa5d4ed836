"""Convert a model's networks to OpenVINO's files in a subprocess: about a minute, and as much memory as the model.

python -m inpainting.engines.diffusion.backends.openvino.conversion  < a ConversionRequest as JSON
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import torch

import inpainting
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.catalog.store.converted_networks import NetworkStore
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.openvino.library import PrePostProcessor, ov, version
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora, ActiveLoras
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.networks.device.hardware import Hardware

logger = logging.getLogger(__name__)

FORMAT = 1
"""Version of the converted files. Raise it when they change: models are then converted again."""
UNET, ENCODER, DECODER = "unet", "encoder", "decoder"
KINDS = {"unet": (UNET,), "vae": (ENCODER, DECODER)}
"""Networks by kind, one folder each. LoRAs change only the first kind."""
TIMEOUT_SECONDS = 1800.0
"""Timeout of a conversion."""
DISK_FACTOR = 1.1
"""Free disk space that a conversion needs, as a multiple of the weights."""


class ConversionFailed(Exception):
    """A conversion failed. The message is shown in the metadata."""


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """The conversion of one kind of networks of a model with LoRAs. fingerprint: see `networks.files`."""

    kind: str
    slug: str
    label: str
    family: str
    path: str
    fingerprint: int
    dtype: str
    loras: tuple[tuple[str, str, str, float], ...]
    """Slug, digest, path and weight of each."""
    models_dir: str
    budget_bytes: int

    @property
    def store(self) -> NetworkStore:
        return NetworkStore(Path(self.models_dir), self.budget_bytes)

    @property
    def folder(self) -> Path:
        """Folder of the converted files, named by a hash of everything that they depend on."""
        loras = [(slug, digest, weight) for slug, digest, _, weight in self.loras]
        inputs = [FORMAT, version(), self.family, self.path, self.fingerprint, self.dtype, loras]
        digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
        return self.store.folder(self.slug, f"{self.kind}-{digest}")


Convert = Callable[[ConversionRequest], None]


def make_request(
    kind: str, model: LatentModel, fingerprint: int, loras: ActiveLoras, models_dir: Path, budget_bytes: int
) -> ConversionRequest:
    spec = model.spec
    return ConversionRequest(
        kind=kind,
        slug=spec.slug,
        label=spec.label,
        family=spec.family,
        path=str(spec.path),
        fingerprint=fingerprint,
        dtype=str(model.unet.dtype).removeprefix("torch."),
        loras=tuple((lora.spec.slug, lora.spec.digest, str(lora.spec.path), lora.weight) for lora in loras),
        models_dir=str(models_dir),
        budget_bytes=budget_bytes,
    )


def convert_in_subprocess(request: ConversionRequest) -> None:
    """Convert, unless another process has done so in the meantime. Raises ConversionFailed.

    A subprocess returns all of its memory when it ends, and does not hold this process's GIL.
    """
    with request.store.lock() as lock:
        if not request.store.use(request.folder):
            _run(request, lock)


def _run(request: ConversionRequest, lock: int) -> None:
    root = str(Path(inpainting.__file__).parents[1])
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module; the request is sent as JSON
            [sys.executable, "-m", __name__],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            input=json.dumps(asdict(request)),
            text=True,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            pass_fds=(lock,),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConversionFailed(sentence("it could not be converted ({name})", name=type(error).__name__)) from error
    if done.returncode:
        logger.error("The conversion of %s ended with %d: %s", request.slug, done.returncode, done.stderr[-4000:])
        raise ConversionFailed(sentence("it could not be converted; see the server's log"))


def convert(request: ConversionRequest) -> None:
    """Convert and store the files, with the store locked. The least recently used files may be removed for them."""
    spec = ModelSpec(slug=request.slug, label=request.label, family=request.family, path=Path(request.path))
    model = load(spec, Hardware(torch.device("cpu"), getattr(torch, request.dtype)))
    parts = networks(fuse_loras_for_network(model, request), request.kind)
    needed = sum(tensor.nbytes for module, _ in parts.values() for tensor in module.state_dict().values())
    free = shutil.disk_usage(request.store.root).free
    if free < DISK_FACTOR * needed:
        raise ConversionFailed(
            sentence("{needed} bytes are needed on the disk, {free} are free", needed=needed, free=free)
        )
    with request.store.stage_folder(request.folder) as folder:
        for name, (module, examples) in parts.items():
            write(module, examples, folder / f"{name}.xml")
    request.store.evict(keep={request.folder})


def fuse_loras_for_network(model: LatentModel, request: ConversionRequest) -> LatentModel:
    """The model with its LoRAs fused into the UNet's weights."""
    loras = tuple(
        ActiveLora(LoraSpec(slug=slug, label=slug, family=request.family, digest=digest, path=Path(path)), weight)
        for slug, digest, path, weight in request.loras
    )
    for lora in loras:
        model.loras.load(lora)
    if loras:
        model.loras.fuse_for_good(loras)
    return model


class TracedUNet(torch.nn.Module):  # type: ignore[misc] # mypy is not shown torch
    """A UNet that takes the embedded timestep: sines of large numbers need more than 16 bits.

    SDXL's UNet also takes its pooled text and time ids, concatenated: `added`.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        unet.get_time_embed = MethodType(lambda self, sample, timestep: timestep, unet)
        if unet.config.addition_embed_type is not None:
            unet.get_aug_embed = MethodType(
                lambda self, emb, encoder_hidden_states, added_cond_kwargs: self.add_embedding(added_cond_kwargs), unet
            )
        self.unet = unet

    def forward(
        self, sample: torch.Tensor, time: torch.Tensor, states: torch.Tensor, added: torch.Tensor | None = None
    ) -> torch.Tensor:
        prediction = self.unet(sample, time, encoder_hidden_states=states, added_cond_kwargs=added, return_dict=False)
        return torch.as_tensor(prediction[0])


class TracedEncoder(torch.nn.Module):  # type: ignore[misc] # mypy is not shown torch
    """Pixels -> parameters of the latents' distribution: [n, 8, h, w], means before the logarithms of variances."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.vae.encode(pixels, return_dict=False)[0].parameters)


class TracedDecoder(torch.nn.Module):  # type: ignore[misc] # mypy is not shown torch
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.vae.decode(latents, return_dict=False)[0])


def networks(model: LatentModel, kind: str) -> dict[str, tuple[torch.nn.Module, tuple[torch.Tensor, ...]]]:
    """Networks of a kind by name, each with example inputs, whose height differs from their width for the trace."""
    rows, (height, width) = 2, (32, 16)

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=model.unet.dtype)

    if kind == "vae":
        scale = 2 ** (len(model.vae.config.block_out_channels) - 1)
        latents = model.vae.config.latent_channels
        return {
            ENCODER: (TracedEncoder(model.vae), (zeros(rows, 3, scale * height // 2, scale * width // 2),)),
            DECODER: (TracedDecoder(model.vae), (zeros(rows, latents, height // 2, width // 2),)),
        }
    return {UNET: (TracedUNet(model.unet), tuple(zeros(*shape) for shape in unet_shapes(model, rows, height, width)))}


def unet_shapes(model: LatentModel, rows: int, height: int, width: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of the inputs of a `TracedUNet` for one chunk of text and latents of that size."""
    unet, config = model.unet, model.unet.config
    shapes: list[tuple[int, ...]] = [
        (rows, config.in_channels, height, width),
        (rows, unet.time_embedding.linear_1.in_features),
        (rows, model.pipeline.tokenizer.model_max_length, config.cross_attention_dim),
    ]
    if config.addition_embed_type is not None:
        shapes.append((rows, config.projection_class_embeddings_input_dim))
    return tuple(shapes)


def write(module: torch.nn.Module, examples: tuple[torch.Tensor, ...], path: Path) -> None:
    """Write one file for every size and number of rows: inputs and outputs in float32, weights in their own dtype."""
    with torch.no_grad(), warnings.catch_warnings():
        # The branches that are not traced are for sizes, slices and tiles that are never used.
        warnings.simplefilter("ignore")
        traced = ov.convert_model(module.eval(), example_input=examples)
    prepared = PrePostProcessor(traced)
    for index in range(len(traced.inputs)):
        prepared.input(index).tensor().set_element_type(ov.Type.f32)
    prepared.output(0).tensor().set_element_type(ov.Type.f32)
    is_half = examples[0].dtype is not torch.float32
    ov.save_model(prepared.build(), path, compress_to_fp16=is_half)


def main() -> None:
    os.nice(5)  # painting has precedence
    request = json.load(sys.stdin)
    convert(ConversionRequest(**{**request, "loras": tuple(tuple(lora) for lora in request["loras"])}))


if __name__ == "__main__":
    main()
