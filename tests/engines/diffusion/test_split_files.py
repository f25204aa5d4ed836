"""Models of several files, as ComfyUI has them, paint as the same weights in a folder in diffusers' layout."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file

from inpainting.catalog.inspection.files import slug_of
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.models import InferenceModel
from inpainting.networks.device.quantization import is_quantized
from tests.contracts.family import assert_equal
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.engines.diffusion.plain_flow import request
from tests.support import split_files, tiny_models
from tests.support.dense_weights import dense_weights
from tests.support.gguf_files import gguf_file
from tests.support.matrix import first_alone
from tests.support.split_files import COMPONENTS, SPLITS, Split, added, added_files, save

pytestmark = pytest.mark.django_db
PREFIXES = {"transformer": "model.diffusion_model.", "vae": "vae."}


@pytest.fixture(params=SPLITS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def spec(family: str, tmp_path: Path) -> ModelSpec:
    """The whole model."""
    return tiny_models.saved(tmp_path / "whole", family)


@pytest.fixture
def whole(spec: ModelSpec) -> Path:
    """Its folder in diffusers' layout."""
    assert spec.path is not None
    return spec.path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "comfyui"


@pytest.fixture
def split(family: str, whole: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Split:
    """The same weights in the files of ComfyUI. The published configurations are those of the model."""
    settings.MODELS_DIR = folder.with_name("models")
    split_files.publish(family, whole, monkeypatch)
    return split_files.write(family, whole, folder)


@cache
def painted_by_whole(family: str) -> torch.Tensor:
    with TemporaryDirectory() as folder:
        return denoised(load(tiny_models.saved(Path(folder) / "whole", family), CPU), requested())


@pytest.fixture
def latents(family: str) -> torch.Tensor:
    """What the whole model paints."""
    return painted_by_whole(family)


def requested() -> Any:
    return request(strength=0.8, guidance_scale=3.0)


def refusal(family: str, origin: Path, *parts: Path) -> str:
    with pytest.raises(CommandError) as caught:
        added(family, origin, *parts)
    assert not InferenceModel.objects.filter(slug="mine").exists()
    return str(caught.value)


def scan(folder: Path, *options: str) -> dict[str, str]:
    """Name of each file -> what is said of it."""
    output = StringIO()
    call_command("add_model", "--scan", str(folder), *options, stdout=output)
    lines = [line.strip().partition("  ") for line in output.getvalue().splitlines() if ".safetensors: " in line]
    return {Path(rest.partition(": ")[0]).stem: f"{mark} {rest.partition(': ')[2]}" for mark, _, rest in lines}


@pytest.mark.parametrize("prefix", first_alone("", "model.diffusion_model."))
def test_files_of_every_component_equal_the_whole_model(
    family: str, split: Split, folder: Path, latents: torch.Tensor, prefix: str
) -> None:
    path = split.path(folder, "transformer")
    save(path, {f"{prefix}{name}": tensor for name, tensor in load_file(path).items()})
    model: Any = load(added_files(family, split, folder).spec, CPU)
    assert not model.notes
    assert_equal(denoised(model, requested()), latents)


def test_the_transformer_has_the_configuration_of_the_whole_model(
    family: str, whole: Path, split: Split, folder: Path
) -> None:
    model: Any = load(added_files(family, split, folder).spec, CPU)
    expected = json.loads((whole / "transformer/config.json").read_text())
    actual = {name: json.loads(json.dumps(model.transformer.config[name])) for name in expected if name[0] != "_"}
    for name in ("axes_lens",):  # how far positions are counted, which changes nothing below
        expected.pop(name, None), actual.pop(name, None)
    assert actual == {name: value for name, value in expected.items() if name[0] != "_"}


@pytest.mark.parametrize(
    ("component", "scale"),
    [
        ("transformer", "weight_scale"),
        ("text_encoder", "scale_weight"),
        pytest.param("transformer", "", marks=pytest.mark.full),
        pytest.param("text_encoder", "", marks=pytest.mark.full),
    ],
)
def test_fp8_is_read_with_its_scales(
    family: str, spec: ModelSpec, split: Split, folder: Path, component: str, scale: str
) -> None:
    path = split.path(folder, component)
    block = split.block if component == "text_encoder" else split.transformer_block
    save(path, split_files.fp8(load_file(path), block, is_scaled=bool(scale), scale_name=scale))
    assert any(tensor.dtype == torch.float8_e4m3fn and tensor.numel() for tensor in load_file(path).values())
    model: Any = load(added_files(family, split, folder).spec, CPU)
    assert not model.notes
    reference: Any = load(spec, CPU)
    expected = getattr(reference.pipeline, component).state_dict()
    actual = dense_weights(getattr(model.pipeline, component))
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected[name], rtol=0.07, atol=2e-3)
    assert any(not torch.equal(tensor, expected[name]) for name, tensor in actual.items())


def test_a_file_with_every_component_equals_the_whole_model(
    family: str, split: Split, folder: Path, latents: torch.Tensor
) -> None:
    path, tensors = split.path(folder, "transformer"), dict[str, torch.Tensor]()
    for component in COMPONENTS:
        prefix = PREFIXES.get(component, split.prefix)
        file = split.path(folder, component)
        tensors |= {f"{prefix}{name}": tensor for name, tensor in load_file(file).items()}
        file.unlink()
    save(path, tensors)
    assert_equal(denoised(load(added(family, path).spec, CPU), requested()), latents)


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_an_absent_component_is_named(family: str, split: Split, folder: Path, component: str) -> None:
    other = split.path(folder, "vae" if component == "text_encoder" else "text_encoder")
    message = refusal(family, split.path(folder, "transformer"), other)
    assert f"is the transformer alone, without {component}" in message
    assert "--part FILE names the file" in message
    split.path(folder, component).unlink()
    said = scan(folder)[split.path(folder, "transformer").stem]
    label = split.vae_label if component == "vae" else split.label
    assert said.startswith(f"left The folder that was scanned has no file of {label}, without which it is not added")
    assert f"--part {other}" in said


def test_a_scan_adds_the_transformer_with_its_components(
    family: str, split: Split, folder: Path, latents: torch.Tensor
) -> None:
    found = scan(folder, "--add")
    transformer, encoder, vae = (split.path(folder, component).stem for component in COMPONENTS)
    assert found[transformer].startswith(f"new checkpoint {family} with ")
    assert f"{encoder}.safetensors" in found[transformer]
    assert f"{vae}.safetensors" in found[transformer]
    assert f"left It is {split.label}, the text encoder of" in found[encoder]
    model = InferenceModel.objects.get(slug=slug_of(transformer))
    assert_equal(denoised(load(model.spec, CPU), requested()), latents)
    assert scan(folder)[transformer].startswith(f"here checkpoint {family}")


@pytest.mark.parametrize("component", first_alone("transformer", "vae"))
def test_a_missing_tensor_is_an_error_and_one_that_nothing_reads_is_named(
    family: str, split: Split, folder: Path, component: str
) -> None:
    path, absent = split.path(folder, component), split.missing if component == "transformer" else split.missing_of_vae
    tensors = load_file(path)
    save(path, {**tensors, "extra.weight": torch.zeros(2)})
    model = added_files(family, split, folder)
    assert f"{component} holds tensors that nothing reads (1): “extra.weight”" in " ".join(load(model.spec, CPU).notes)
    model.delete()
    del tensors[absent]
    save(path, tensors)
    with pytest.raises(EngineFailed, match=f"{component} lacks weights"):
        load(added_files(family, split, folder).spec, CPU)


def test_a_text_encoder_of_another_width_is_refused(family: str, split: Split, folder: Path) -> None:
    path = split.path(folder, "text_encoder")
    wide = {
        name: torch.zeros(*tensor.shape[:-1], 48)
        if re.search(r"embed_tokens|encoder\.final_layer_norm", name)
        else tensor
        for name, tensor in load_file(path).items()
    }
    save(path, wide)
    message = refusal(family, *(split.path(folder, component) for component in COMPONENTS))
    assert f"is not {split.label}" in message
    assert "is 48, not 32" in message


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("flux2-klein", {"flux-2-klein-4b": (4, 1.0), "flux-2-klein-base-4b": (50, 4.0)}),
        ("z-image", {"z_image_turbo_bf16": (8, 1.0), "z_image_bf16": (50, 5.0)}),
    ],
    indirect=["family"],
)
def test_a_model_that_is_not_distilled_gets_its_own_steps_and_guidance(
    family: str, split: Split, folder: Path, names: dict[str, tuple[int, float]]
) -> None:
    parts = [split.path(folder, component) for component in COMPONENTS[1:]]
    for name, expected in names.items():
        origin = Path(shutil.copy(split.path(folder, "transformer"), folder / f"{name}.safetensors"))
        model = added(family, origin, *parts)
        assert (model.steps, model.guidance_scale) == expected
        model.delete()


@pytest.mark.parametrize("kind", first_alone("Q8_0", "BF16"))
def test_a_gguf_file_equals_its_numbers(family: str, split: Split, folder: Path, whole: Path, kind: str) -> None:
    path = split.path(folder, "transformer")
    stored = gguf_file(load_file(path), path.with_suffix(".gguf"), kind)
    save(path, stored)  # the numbers that the other file holds
    parts = [split.path(folder, component) for component in COMPONENTS[1:]]
    painted = []
    for origin in (path.with_suffix(".gguf"), path):
        model = added(family, origin, *parts)
        loaded: Any = load(model.spec, CPU)
        assert not loaded.notes
        assert is_quantized(loaded.transformer) == (origin.suffix == ".gguf")
        painted.append(denoised(loaded, requested()))
        model.delete()
    torch.testing.assert_close(*painted, rtol=1e-2, atol=2e-3)  # diffusers' scales are of 16 bits
