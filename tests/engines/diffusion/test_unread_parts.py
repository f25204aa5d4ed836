"""What loading passes over is named in a note: each tensor and each configuration value that nothing reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request
from tests.support import original_layout, tiny_models

EXTRA = {
    "model_ema.decay": torch.zeros(1),
    "betas": torch.zeros(1000),
    "first_stage_model.loss.logvar": torch.zeros(1),
    "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
}
"""In published checkpoints, and not needed."""


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux-fill"])
def test_a_model_as_its_library_saves_it_has_no_note(tmp_path: Path, family: str) -> None:
    assert load(tiny_models.saved(tmp_path / "one", family), CPU).notes == []


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_the_tensors_of_a_checkpoint_that_nothing_reads_are_named(tmp_path: Path, family: str) -> None:
    pipeline = {"sd": tiny_models.sd, "sdxl": original_layout.sdxl}[family](tmp_path)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors", **EXTRA)
    copy_configuration(tmp_path / "folder", family, path)
    assert load(spec_of(path, family), CPU).notes == []
    more = {"control_model.x": torch.zeros(1), "ztsnr": torch.zeros(1), "model.diffusion_model.new.w": torch.zeros(1)}
    save_file({**load_file(path), **more}, path)
    assert load(spec_of(path, family), CPU).notes == [
        "mine.safetensors holds tensors that nothing reads (2): “control_model.x”, “ztsnr”.",
        "mine.safetensors holds tensors of its unet that nothing reads (1).",
    ]


@pytest.mark.parametrize(
    ("family", "component"),
    [
        ("sd", "unet"),
        ("sd", "vae"),
        ("sd", "text_encoder"),
        ("flux-fill", "transformer"),
        ("flux-fill", "text_encoder_2"),
    ],
)
def test_the_tensors_of_a_folder_that_nothing_reads_are_named(tmp_path: Path, family: str, component: str) -> None:
    spec = tiny_models.saved(tmp_path / "one", family)
    (path,) = (tmp_path / "one" / component).glob("*.safetensors")
    save_file({**load_file(path), "mystery.weight": torch.zeros(2)}, path, metadata={"format": "pt"})
    assert load(spec, CPU).notes == [f"{component} holds tensors that nothing reads (1): “mystery.weight”."]


@pytest.mark.parametrize(
    "name", ["unet/config.json", "vae/config.json", "scheduler/scheduler_config.json", "model_index.json"]
)
def test_the_configuration_values_that_nothing_reads_are_named(tmp_path: Path, name: str) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    path = tmp_path / "one" / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "mystery": True}))
    _, notes = Batcher(ModelCache(CPU, 10**9)).paint(request(), spec, ignore_step)
    assert notes == (f"{name} has values that nothing reads: “mystery”.",)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"thresholding": True}, "thresholding=True by False"),
        ({"clip_sample": True}, "clip_sample=True by False"),
        ({"skip_prk_steps": False}, "skip_prk_steps=False by True"),
        ({"variance_type": "learned"}, "variance_type=learned by fixed_small"),
        ({"steps_offset": 0}, "steps_offset=0 by 1"),
        ({"steps_offset": 0, "thresholding": True}, "steps_offset=0 by 1, thresholding=True by False"),
    ],
)
@pytest.mark.parametrize("is_file", [False, True])
def test_the_values_of_a_scheduler_that_are_replaced_are_named(
    tmp_path: Path, value: dict[str, Any], named: str, is_file: bool
) -> None:
    """Those of pixels by `schedulers.latent_values`, an old `steps_offset` by the class of diffusers' pipeline."""
    spec = tiny_models.saved(tmp_path / "folder", "sd")
    if is_file:
        pipeline = tiny_models.sd(tmp_path)
        path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
        copy_configuration(tmp_path / "folder", "sd", path)
        spec = spec_of(path, "sd")
    config = (tmp_path / "one" / "config" if is_file else tmp_path / "folder") / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **value}))
    assert load(spec, CPU).notes == [
        f"scheduler/scheduler_config.json has values that a latent model cannot be sampled with, replaced: {named}."
    ]


def test_a_quantised_folder_is_refused_by_name(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    (path,) = (tmp_path / "one" / "unet").glob("*.safetensors")
    tensors = load_file(path)
    for more in ({"conv_in.scale_weight": torch.ones(1)}, {"conv_in.weight": torch.zeros(1, dtype=torch.uint8)}):
        save_file({**tensors, **more}, path)
        with pytest.raises(EngineFailed, match=f"is quantised: “{next(iter(more))}”") as caught:
            load(spec, CPU)
        assert caught.value.code == "model_refused"
    save_file(tensors, path)
    config = tmp_path / "one" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(EngineFailed, match="quantised network"):
        load(spec, CPU)
