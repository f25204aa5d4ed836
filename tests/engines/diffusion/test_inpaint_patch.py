"""Fooocus' inpaint patch: its pickles are read by a process of its own, and a patched model fills as published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file
from torch.nn.functional import conv2d, pad

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.inpaint_patch import PATCH
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.store import inpaint_patches, unpickling
from inpainting.catalog.store.inpaint_patches import unpickle
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.inpaint_patch import PatchedInput
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.models import InferenceModel
from tests.contracts.family import assert_equal, assert_same_image
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.pipelines import CPU, denoised, ignore_step, reference_of, request, run_reference
from tests.support import original_layout

UNET = "model.diffusion_model."
PATCH_NAME, HEAD_NAME = "inpaint_v26.fooocus.patch", "fooocus_inpaint_head.pth"
FEATURES = 16
"""Of the tiny UNet's first layer."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its folder, the two pickles as they are published, and the checkpoint with the changed weights."""
    folder = tmp_path_factory.mktemp("published")
    pipeline = original_layout.sdxl(folder, inpainting=False)
    pipeline.save_pretrained(folder / "folder")
    path = original_layout.saved(pipeline, folder / "one" / "mine.safetensors")
    copy_configuration(folder / "folder", "sdxl", path)
    copy_configuration(folder / "folder", "sdxl", folder / "changed" / "mine.safetensors")
    generator, patch, changed = torch.Generator().manual_seed(3), {}, load_file(path)
    for name in sorted(changed):
        weight = changed[name]
        if not name.startswith(UNET) or name.endswith("norm3.bias"):
            continue  # a patch need not change all weights
        numbers = torch.randint(0, 256, weight.shape, generator=generator, dtype=torch.uint8)
        least, most = -0.1 * torch.rand((), generator=generator), 0.1 * torch.rand((), generator=generator)
        patch[name.removeprefix("model.")] = (numbers, least, most)
        changed[name] = weight + numbers.float() / 255 * (most - least) + least
    save_file(changed, folder / "changed" / "mine.safetensors")
    torch.save(patch, folder / PATCH_NAME)
    head = {"head": torch.randn(FEATURES, 5, 3, 3, generator=generator)}
    torch.save(head, folder / HEAD_NAME)
    return folder


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    """The two pickles with one weight."""
    torch.save({"out.2.bias": (torch.zeros(3, dtype=torch.uint8), *torch.ones(2))}, tmp_path / PATCH_NAME)
    torch.save({"head": torch.zeros(FEATURES, 5, 3, 3)}, tmp_path / HEAD_NAME)
    return tmp_path


def add(files: Path, origin: str, slug: str = "mine", *more: str) -> InferenceModel:
    parts = [f"--part={files / name}" for name in (PATCH_NAME, HEAD_NAME)]
    call_command("add_model", slug, "--family=sdxl", f"--from={files / origin}", *parts, *more, stdout=StringIO())
    return InferenceModel.objects.get(slug=slug)


@contextmanager
def first_layer_with_head(reference: Any, head: torch.Tensor) -> Iterator[None]:
    """Let a plain pipeline add the head's features to the output of its UNet's first layer, as Fooocus does.

    `modules/inpaint_worker.py` there: of the mask and of the latents of the image whose masked pixels are grey, which
    diffusers' pipeline computes for plain models too and does not use.
    """
    prepare, seen = reference.prepare_mask_latents, list[torch.Tensor]()

    def prepared(*given: Any, **named: Any) -> Any:
        mask, masked = prepare(*given, **named)
        seen.append(torch.cat([mask, masked], dim=1))
        return mask, masked

    reference.prepare_mask_latents = prepared
    hook = reference.unet.conv_in.register_forward_hook(
        lambda layer, given, output: output + conv2d(pad(seen[0], (1, 1, 1, 1), "replicate"), head)
    )
    yield
    hook.remove()


@pytest.mark.parametrize(
    ("origin", "strength", "guidance_scale"),
    [("folder", 0.6, 4.0), pytest.param("one/mine.safetensors", 1.0, 1.0, marks=pytest.mark.full)],
)
def test_a_patched_model_equals_the_published_steps(
    db: None, tmp_path: Path, settings: Any, files: Path, origin: str, strength: float, guidance_scale: float
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    row = add(files, origin)
    assert row.strength == 1
    model = load(replace(row.spec, width=64, height=64), CPU)
    assert model.notes == []
    changed = load(spec_of(files / "changed" / "mine.safetensors", "sdxl"), CPU)
    head = torch.load(files / HEAD_NAME, weights_only=True)["head"]
    requested = request(scheduler="DDIMScheduler", strength=strength, guidance_scale=guidance_scale)
    reference = reference_of(changed, requested)
    with first_layer_with_head(reference, head):
        expected = run_reference(reference, changed.spec, requested)
    assert_equal(denoised(model, requested), expected)
    assert not torch.allclose(denoised(changed, requested), expected, atol=1e-2)


@pytest.mark.full
def test_patched_images_share_calls_with_the_results_they_have_alone(
    db: None, tmp_path: Path, settings: Any, files: Path
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    spec = replace(add(files, "folder").spec, width=64, height=64)
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=8)
    requested = request(strength=1.0, num_images=3, guidance_scale=4.0)
    together, _ = batcher.paint(requested, spec, ignore_step)
    for number, image in enumerate(together):
        alone = replace(requested.settings, num_images=1, seed=requested.settings.seed + number)
        assert_same_image(image, batcher.paint(replace(requested, settings=alone), spec, ignore_step)[0][0])


class Program:
    """A pickle of it runs a program when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_runs_a_program_is_refused(pickles: Path, tmp_path: Path) -> None:
    patch, trace = tmp_path / "evil.patch", tmp_path / "trace"
    torch.save({"diffusion_model.out.2.bias": Program(trace)}, patch)
    with pytest.raises(ModelRefused, match=r"evil\.patch is not what is expected: it cannot be read as weights"):
        unpickle([patch, pickles / HEAD_NAME], tmp_path / "target")
    assert not trace.exists()


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("other.patch", {"w": torch.zeros(3)}, "w is no weight with two limits"),
        ("other.patch", {"w": [torch.zeros(3)] * 3}, "w is no weight of bytes with two limits"),
        ("other.patch", [torch.zeros(3)], "it holds no weights by name"),
        ("other.pth", {"tail": torch.zeros(3)}, "it holds no convolution"),
    ],
)
def test_pickles_of_other_contents_are_refused(
    pickles: Path, tmp_path: Path, name: str, contents: Any, message: str
) -> None:
    torch.save(contents, tmp_path / name)
    other = HEAD_NAME if name.endswith(".patch") else PATCH_NAME
    with pytest.raises(ModelRefused, match=message):
        unpickle([tmp_path / name, pickles / other], tmp_path / "target")


def test_reading_takes_bounded_memory_and_time(pickles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [pickles / PATCH_NAME, pickles / HEAD_NAME]
    for module, name, value in (
        (unpickling, "LIBRARY_BYTES", 2**24),
        (unpickling, "MAX_SECONDS", 0),
        (inpaint_patches, "MAX_PATCH_BYTES", 10),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, value)
            with pytest.raises(ModelRefused, match=r"could not be read|of 10 at most"):
                unpickle(parts, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.full
def test_what_the_patch_is_not_made_for_is_refused(db: None, tmp_path: Path, settings: Any, files: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    inpainting = original_layout.sdxl(tmp_path, inpainting=True)
    inpainting.save_pretrained(tmp_path / "inpainting")
    for origin, more, message in (
        (str(tmp_path / "inpainting"), (), "is an inpainting model already"),
        ("folder", (f"--part={files / 'folder'}",), "An inpaint patch is two files"),
    ):
        with pytest.raises(CommandError, match=message):
            add(files, origin, "mine", *more)
    patch = add(files, "folder").folder / PATCH
    for tensors, message in (
        ({"w": torch.zeros(3, dtype=torch.uint8)}, "holds no convolution"),
        ({"head": torch.zeros(FEATURES, 5, 3, 3), "w": torch.zeros(3, dtype=torch.uint8)}, "two limits for each"),
    ):
        save_file(tensors, patch)
        with pytest.raises(ModelRefused, match=message):
            check_model(patch.parent.parent, "sdxl")


@pytest.mark.full
def test_a_patch_of_another_shape_is_an_error_with_the_name_of_the_weight(
    db: None, tmp_path: Path, settings: Any, files: Path
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    row = add(files, "folder")
    tensors = load_file(row.folder / PATCH)
    tensors["out.2.bias"] = torch.zeros(7, dtype=torch.uint8)
    save_file(tensors, row.folder / PATCH)
    with pytest.raises(EngineFailed, match=r"another shape for out\.2\.bias"):
        load(row.spec, CPU)
    for suffix in ("", ".min", ".max"):
        tensors[f"elsewhere.bias{suffix}"] = tensors.pop(f"out.2.bias{suffix}")
    save_file(tensors, row.folder / PATCH)
    model = load(row.spec, CPU)
    assert model.notes == ["The inpaint patch changes 1 weights that the UNet does not have (elsewhere.bias, …)."]
    assert isinstance(model.unet.conv_in, PatchedInput)
