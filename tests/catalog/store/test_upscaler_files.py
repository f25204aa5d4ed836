"""Files of upscalers: added from safetensors, ONNX and pickles, found by a scan, and pulled from a release."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

pytest.importorskip("torch", reason="diffusion is not installed")
pytest.importorskip("onnx", reason="a light installation has no onnx")
import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.store import unpickling
from inpainting.catalog.store.release_file import url_source
from inpainting.catalog.store.unpickling import write_weights
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.management.commands import pull_model
from inpainting.models import InferenceModel, ModelState
from inpainting.upscalers.enlarging import Enlargement
from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler
from tests.support import tiny_upscalers as tiny

pytestmark = pytest.mark.usefixtures("models_folder", "db")


def scan(*arguments: str) -> dict[str, str]:
    """The lines of the output: path -> what is said of it; the last line under ""."""
    output = StringIO()
    call_command("add_model", "--scan", *arguments, stdout=output)
    lines = [line.strip() for line in output.getvalue().splitlines()]
    listed = [line.partition("  ")[2].partition(": ") for line in lines if line.startswith(("new", "here", "left"))]
    return {path: said for path, _, said in listed} | {"": lines[-1]}


def pickle(path: Path, weights: Any = None, *, key: str = "params_ema") -> Path:
    """Weights as BasicSR saves them; without a key as ESRGAN does."""
    tensors = {name: torch.from_numpy(tensor) for name, tensor in (weights or tiny.rrdbnet()).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({key: tensors} if key else tensors, path)
    return path


def added(slug: str) -> InferenceModel:
    model = InferenceModel.objects.get(slug=slug)
    assert model.state == ModelState.INSTALLED
    return model


@pytest.mark.parametrize("key", ["params_ema", "params", ""])
def test_a_pickle_is_stored_as_safetensors(tmp_path: Path, key: str) -> None:
    path = pickle(tmp_path / "RealESRGAN_x2.pth", key=key)
    call_command("add_model", "mine", "--family", "rrdbnet", "--from", str(path))
    model = added("mine")
    assert [file.name for file in model.folder.iterdir()] == ["RealESRGAN_x2.safetensors"]
    assert model.weights is not None
    stored = load_file(model.weights)
    assert all((stored[name] == tensor).all() for name, tensor in tiny.rrdbnet().items())
    assert NetworkUpscaler(model.spec).tiling.scale == 2


def test_the_averaged_weights_are_taken_and_the_names_of_parallel_training_shortened(tmp_path: Path) -> None:
    tensors = {f"module.{name}": torch.from_numpy(tensor) for name, tensor in tiny.srvgg().items()}
    torch.save({"params": {"body.0.weight": torch.zeros(1)}, "params_ema": tensors}, tmp_path / "a.pth")
    write_weights(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors").keys() == tiny.srvgg().keys()


@pytest.mark.parametrize(
    ("family", "name", "content"),
    [
        ("srvgg", "compact.safetensors", tiny.srvgg()),
        ("swinir", "swinir.safetensors", tiny.transformer("swinir nearest+conv")),
        ("onnx-upscaler", "repeat.onnx", tiny.onnx_upscaler(4)),
    ],
)
def test_safetensors_and_onnx_are_added_as_they_are(tmp_path: Path, family: str, name: str, content: Any) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else save_file(content, path)
    call_command("add_model", "mine", "--family", family, "--from", str(path))
    assert (added("mine").folder / name).read_bytes() == path.read_bytes()
    assert NetworkUpscaler(added("mine").spec).tiling.scale == 4


class Program:
    """Makes a folder when it is unpickled without bounds."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_runs_a_program_is_refused(tmp_path: Path) -> None:
    torch.save({"params": Program(tmp_path / "trace")}, tmp_path / "evil.pth")
    with pytest.raises(CommandError, match=r"evil\.pth is not what is expected: it cannot be read as weights alone"):
        call_command("add_model", "mine", "--family", "rrdbnet", "--from", str(tmp_path / "evil.pth"))
    assert not (tmp_path / "trace").exists()
    assert not InferenceModel.objects.filter(slug="mine").exists()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([1], "it holds no weights by name"),
        ({"a": 3}, "something else than the weights"),
        ({"params": {}}, "something else than the weights"),
        ({"a": torch.zeros(2, dtype=torch.int64)}, "something else than the weights"),
    ],
)
def test_pickles_of_other_contents_are_refused(tmp_path: Path, contents: Any, message: str) -> None:
    torch.save(contents, tmp_path / "other.pth")
    with pytest.raises(ModelRefused, match=message):
        write_weights(tmp_path / "other.pth", tmp_path / "target")


def test_reading_a_pickle_takes_bounded_memory_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pickle(tmp_path / "a.pth")
    for name, value in (("LIBRARY_BYTES", 2**24), ("MAX_SECONDS", 0), ("MAX_WEIGHTS_BYTES", 10)):
        with monkeypatch.context() as patched:
            patched.setattr(unpickling, name, value)
            with pytest.raises(ModelRefused, match=r"could not be read|of 10 at most"):
                write_weights(path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_scan_finds_the_upscalers_of_comfyui_and_of_a1111(tmp_path: Path) -> None:
    place = tmp_path / "models of others"
    pickle(place / "ESRGAN/4x-Old.pth", tiny.with_names_of_esrgan(tiny.rrdbnet(tiny.X4), tiny.X4), key="")
    pickle(place / "RealESRGAN/x2.pth")
    pickle(place / "Stable-diffusion/x2.pth")
    torch.save({"layers.0.weight": torch.zeros(3)}, place / "ESRGAN/swin.pth")
    (place / "upscale_models").mkdir()
    save_file(tiny.srvgg(), place / "upscale_models/compact.safetensors")
    (place / "upscale_models/any.onnx").write_bytes(tiny.onnx_upscaler())
    found = scan(str(place), "--add")
    assert found["ESRGAN/4x-Old.pth"] == "checkpoint rrdbnet, 4x-old"
    assert found["RealESRGAN/x2.pth"] == "checkpoint rrdbnet, x2"
    assert found["upscale_models/compact.safetensors"] == "checkpoint srvgg, compact"
    assert found["upscale_models/any.onnx"] == "checkpoint onnx-upscaler, any"
    assert found["ESRGAN/swin.pth"] == (
        "It is an upscaler of another architecture than DAT, HAT, ESRGAN, Real-ESRGAN compact and SwinIR."
    )
    assert "may hold a pickle" in found["Stable-diffusion/x2.pth"]
    for slug, scale in (("4x-old", 4), ("x2", 2), ("compact", 4), ("any", 2)):
        assert NetworkUpscaler(added(slug).spec).tiling.scale == scale
    assert scan(str(place))[""] == "0 to add."


@pytest.mark.parametrize("variant", tiny.TRANSFORMERS)
def test_a_scan_finds_transformers(tmp_path: Path, variant: str) -> None:
    family, sizes = tiny.TRANSFORMERS[variant]
    (place := tmp_path / "upscale_models").mkdir()
    save_file({**tiny.transformer(variant), **tiny.computed_tensors(variant)}, place / "mine.safetensors")
    assert scan(str(tmp_path), "--add")["upscale_models/mine.safetensors"] == f"checkpoint {family}, mine"
    upscaler, scale = NetworkUpscaler(added("mine").spec), sizes.scale
    image = CanonicalImage(np.full((5, 7, 3), 99, np.uint8))
    enlarged = Enlargement(image, Size(7 * scale, 5 * scale), upscaler).run(lambda done, of: None)
    assert enlarged.pixels.shape == (5 * scale, 7 * scale, 3)


@pytest.mark.parametrize("variant", ["swinir nearest+conv", "hat", "dat standing"])
def test_a_scan_finds_transformers_as_they_are_published(tmp_path: Path, variant: str) -> None:
    """In pickles, which hold positions as whole numbers, too."""
    family, sizes = tiny.TRANSFORMERS[variant]
    weights = {**tiny.transformer(variant), **tiny.computed_tensors(variant)}
    pickle(tmp_path / "upscale_models/mine.pth", weights, key="params")
    assert scan(str(tmp_path), "--add")["upscale_models/mine.pth"] == f"checkpoint {family}, mine"
    assert NetworkUpscaler(added("mine").spec).tiling.scale == sizes.scale


SWINIR = tiny.transformer("swinir pixelshuffle")
GROUP = "layers.0.residual_group"


ONES = np.ones((2, 1), np.float32)
OTHERS: dict[str, Any] = {
    "a network of Swin2SR": {**SWINIR, f"{GROUP}.blocks.0.attn.logit_scale": ONES},
    "a network of SRFormer": {**SWINIR, f"{GROUP}.blocks.0.attn.kv.weight": ONES},
    "a network of DRCT": {"layers.0.swin1.attn.qkv.weight": ONES},
    "a network of ATD": {f"{GROUP}.layers.0.attn_win.proj.weight": ONES},
    "a network of RGT": {"before_RG.1.weight": ONES, "layers.0.blocks.0.gamma": ONES},
}
CLEANER = {name: tensor for name, tensor in SWINIR.items() if "upsample" not in name}


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        *((weights, f"{label}, which is taken in ONNX alone.") for label, weights in OTHERS.items()),
        (CLEANER, "it cleans images, of noise or of traces of JPEG, and does not enlarge them."),
    ],
    ids=[*OTHERS, "a SwinIR that cleans"],
)
def test_upscalers_that_are_like_those_that_are_taken_are_named(tmp_path: Path, weights: Any, reason: str) -> None:
    save_file(weights, tmp_path / "other.safetensors")
    assert scan(str(tmp_path))["other.safetensors"].endswith(reason)
    with pytest.raises(CommandError, match=re.escape(reason)):
        call_command("add_model", "mine", "--family", "swinir", "--from", str(tmp_path / "other.safetensors"))


def test_they_are_named_in_pickles_too(tmp_path: Path) -> None:
    pickle(tmp_path / "upscale_models/other.pth", OTHERS["a network of Swin2SR"])
    assert scan(str(tmp_path))["upscale_models/other.pth"] == (
        "It is a network of Swin2SR, which is taken in ONNX alone."
    )


@contextmanager
def served(content: bytes, url: str, first_byte: int) -> Iterator[Any]:
    yield SimpleNamespace(size=len(content), body=iter([content[first_byte:]]))


def test_a_pickle_of_a_release_is_pulled_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle(tmp_path / "x2.pth").read_bytes()
    monkeypatch.setattr(pull_model, "open_release", lambda url, first: served(content, url, first))
    url = f"https://releases.example/v1/x2.pth#sha256={hashlib.sha256(content).hexdigest()}"
    call_command("add_model", "mine", "--family", "rrdbnet", "--from", url)
    call_command("pull_model", "mine", "--yes")
    assert [file.name for file in added("mine").folder.iterdir()] == ["x2.safetensors"]
    content = b"\0" + content[1:]
    with pytest.raises(CommandError, match="its hash differs"):
        call_command("pull_model", "mine", "--yes")
    assert NetworkUpscaler(added("mine").spec).tiling.scale == 2


def test_the_address_of_a_pickle_needs_its_hash() -> None:
    with pytest.raises(ModelRefused, match="with “#sha256=…” at its end alone"):
        url_source("https://releases.example/v1/x2.pth", lambda url, first: served(b"", url, first))
