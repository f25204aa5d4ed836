"""Every loader names a safetensors file that no library can read, without its place on the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inpainting.catalog.inspection.files import WEIGHTS
from inpainting.catalog.specs import ControlImageKind, Kind, LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion import safety_checker
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora
from inpainting.engines.diffusion.conditioning.textual_inversion import read_embedding
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter, load_preview_decoder
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.networks.transformers_models import load_model
from inpainting.networks.unreadable_files import unreadable
from tests.engines.diffusion.pipelines import CPU
from tests.support import (
    original_layout,
    tiny_adapters,
    tiny_checker,
    tiny_embeddings,
    tiny_loras,
    tiny_models,
    tiny_vaes,
    tiny_vision_models,
)
from tests.support.file_checks import CHECKS

Load = Callable[[], object]


def spec_of(path: Path, kind: Kind = Kind.CHECKPOINT, family: str = "sd", **more: Any) -> ModelSpec:
    return ModelSpec(slug="mine", label="Mine", family=family, kind=kind, path=path, **more)


def model(folder: Path) -> Load:
    """In several files each network, which the loader does not look into itself."""
    tiny_models.sd(folder.parent / "scratch").save_pretrained(folder / "mine", max_shard_size="100KB")
    return lambda: load(spec_of(folder / "mine"), CPU)


def checkpoint(folder: Path) -> Load:
    path, pipeline = folder / "mine.safetensors", tiny_models.sd(folder.parent / "scratch")
    original_layout.saved(pipeline, path)
    pipeline.save_pretrained(folder / "config")
    for weights in (folder / "config").rglob(f"*{WEIGHTS}"):
        weights.unlink()
    return lambda: load(spec_of(path), CPU)


def controlnet(folder: Path) -> Load:
    tiny_adapters.controlnet("sd").save_pretrained(folder / "mine", safe_serialization=True)
    return lambda: load_adapter(spec_of(folder / "mine", Kind.CONTROLNET, control=ControlImageKind.CANNY), CPU)


def vae(folder: Path) -> Load:
    tiny_vaes.saved(folder / "mine")
    return lambda: load_adapter(spec_of(folder / "mine", Kind.VAE), CPU)


def ip_adapter(folder: Path) -> Load:
    unet = tiny_models.sd(folder.parent / "scratch").unet
    tiny_adapters.saved_adapter(folder / "mine", "sd", tiny_adapters.adapter(unet))
    return lambda: load_adapter(spec_of(folder / "mine", Kind.IP_ADAPTER), CPU)


def embedding(folder: Path) -> Load:
    tiny_embeddings.saved(folder / "mine.safetensors")
    return lambda: read_embedding(spec_of(folder / "mine.safetensors", Kind.EMBEDDING))


def lora(folder: Path) -> Load:
    loaded: Any = load(tiny_models.saved(folder.parent / "base"), CPU)
    path = tiny_loras.saved(folder / "mine.safetensors", tiny_loras.weights(loaded.pipeline, parts=["unet"]))
    return lambda: loaded.loras.read(ActiveLora(LoraSpec("mine", "Mine", "sd", path=path), 1.0))


def checker(folder: Path) -> Load:
    tiny_checker.saved(folder / "mine", tiny_checker.checker())
    return lambda: safety_checker.load(spec_of(folder / "mine", family="safety-checker"), folder / "mine")


def segmenter(folder: Path) -> Load:
    tiny_vision_models.saved(folder / "mine", "sam")
    return lambda: load_model(spec_of(folder / "mine", family="sam"), folder / "mine")


LOADERS: dict[Callable[[Path], Load], tuple[str, str]] = {
    model: ("The model Mine cannot be loaded: ", "model_unavailable"),
    checkpoint: ("mine.safetensors is ", "model_refused"),  # whose header the loader reads itself
    segmenter: ("The model Mine cannot be loaded: ", "model_unavailable"),
    checker: ("The safety checker cannot be loaded: ", "safety_checker_unavailable"),
    controlnet: ("The ControlNet mine cannot be loaded: ", "adapter_unavailable"),
    vae: ("The VAE mine cannot be loaded: ", "adapter_unavailable"),
    ip_adapter: ("The IP-Adapter mine cannot be loaded: ", "adapter_unavailable"),
    embedding: ("The embedding mine cannot be loaded: ", "adapter_unavailable"),
    lora: ("The LoRA mine cannot be loaded: ", "lora_unavailable"),
}
"""What makes files and loads them -> how the error begins, and its code."""


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is broken between its check and its loading."""
    for check in CHECKS:
        monkeypatch.setattr(check, lambda *arguments: None)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def overwrite(path: Path) -> None:
    path.write_bytes(b"This is no network. " * 20)


@pytest.mark.parametrize("damage", [cut, overwrite])
@pytest.mark.parametrize("made", LOADERS, ids=lambda made: made.__name__)
def test_every_loader_names_the_file_that_cannot_be_read(
    tmp_path: Path, made: Callable[[Path], Load], damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    read, (subject, code) = made(folder), LOADERS[made]
    read()
    *_, broken = sorted(folder.rglob(f"*{WEIGHTS}"))
    damage(broken)
    with pytest.raises(EngineFailed) as caught:
        read()
    assert caught.value.code == code
    assert caught.value.message.startswith(subject)
    assert broken.name in caught.value.message, caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_a_preview_decoder_that_cannot_be_read_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "inpainting.engines.diffusion.serving.loading.adapter_loading.check_tiny_vae", lambda *given: None
    )
    tiny_vaes.saved(tmp_path / "taesd", kind="AutoencoderTiny")
    assert load_preview_decoder(tmp_path, "sd", CPU) is not None
    cut(next((tmp_path / "taesd").glob(f"*{WEIGHTS}")))
    assert load_preview_decoder(tmp_path, "sd", CPU) is None


def test_an_out_of_memory_error_passes_unchanged() -> None:
    error = RuntimeError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        unreadable("The model Mine", None, error, "model_unavailable")
