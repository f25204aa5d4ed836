"""Networks are loaded one at a time over all threads, because loading changes process-wide state of the libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion import safety_checker
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter, load_preview_decoder
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.load_lock import LOAD_LOCK, serialize
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.support import original_layout, tiny_adapters, tiny_checker, tiny_models, tiny_vaes

HALF = Hardware(torch.device("cpu"), torch.bfloat16)


def a_folder(folder: Path) -> Callable[[], object]:
    spec = tiny_models.saved(folder / "model")
    return lambda: load(spec, HALF)


def a_checkpoint(folder: Path) -> Callable[[], object]:
    pipeline = tiny_models.sd(folder)
    pipeline.save_pretrained(folder / "folder")
    path = original_layout.saved(pipeline, folder / "one" / "mine.safetensors")
    copy_configuration(folder / "folder", "sd", path)
    return lambda: load(spec_of(path, "sd"), HALF)


def a_vae(folder: Path) -> Callable[[], object]:
    spec = tiny_vaes.saved(folder / "vae")
    return lambda: load_adapter(spec, HALF)


def a_preview_decoder(folder: Path) -> Callable[[], object]:
    tiny_vaes.saved(folder / families.get("sd").preview_decoder, kind="AutoencoderTiny")
    return lambda: load_preview_decoder(folder, "sd", HALF)


def an_ip_adapter(folder: Path) -> Callable[[], object]:
    unet = load(tiny_models.saved(folder / "model"), HALF).unet
    spec = tiny_adapters.saved_adapter(folder / "adapter", "sd", tiny_adapters.adapter(unet))
    return lambda: load_adapter(spec, HALF)


def an_active_ip_adapter(folder: Path) -> Callable[[], object]:
    adapter = an_ip_adapter(folder)()
    unet = load(tiny_models.saved(folder / "other"), HALF).unet
    return lambda: adapter.attention_processors(unet)  # type: ignore[attr-defined] # load_adapter returns object here


def a_safety_checker(folder: Path) -> Callable[[], object]:
    tiny_checker.saved(folder, tiny_checker.checker())
    spec = ModelSpec(slug="safety-checker", label="Safety checker", family="safety-checker", path=folder)
    return lambda: safety_checker.loaded(spec)


@pytest.mark.parametrize(
    "prepared",
    [
        *(a_folder, a_checkpoint, a_vae, a_preview_decoder, an_ip_adapter, an_active_ip_adapter),
        a_safety_checker,
    ],
)
def test_other_loaders_wait_while_a_network_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Callable[[Path], Callable[[], object]]
) -> None:
    wanted = prepared(tmp_path)
    begin: Callable[..., None] = torch.nn.Module.__init__
    was_free: list[bool] = []

    def lock_is_free() -> bool:
        is_free = LOAD_LOCK.acquire(blocking=False)
        if is_free:
            LOAD_LOCK.release()
        return is_free

    def watched(module: torch.nn.Module, *args: object, **more: object) -> None:
        was_free.append(another.submit(lock_is_free).result())
        begin(module, *args, **more)

    with ThreadPoolExecutor(1) as another:
        assert another.submit(lock_is_free).result()
        monkeypatch.setattr(torch.nn.Module, "__init__", watched)
        wanted()
        monkeypatch.undo()
        assert another.submit(lock_is_free).result()
    assert was_free
    assert not any(was_free)


def test_the_load_lock_is_reentrant_and_released_after_an_error() -> None:
    @serialize
    def inner() -> str:
        return "loaded"

    @serialize
    def outer() -> str:
        raise RuntimeError(inner())

    with pytest.raises(RuntimeError, match="loaded"):
        outer()
    with ThreadPoolExecutor(1) as another:
        assert another.submit(inner).result() == "loaded"


def test_a_failed_build_restores_the_default_dtype_of_torch(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    config = tmp_path / "model" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "down_block_types": ["A", "B"]}))
    with pytest.raises(EngineFailed):
        load(spec, HALF)
    assert torch.get_default_dtype() is torch.float32
