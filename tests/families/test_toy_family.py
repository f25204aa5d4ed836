"""A new model family is one declaration and one class: this file adds both, and no other file names them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

pytest.importorskip("torch", reason="diffusion is not installed")

import torch

from inpainting import families
from inpainting.core.setting import DIFFUSION
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.families.declaration import ModelFamily
from inpainting.families.layouts import Component, DiffusersLayout
from inpainting.families.sd.network import StableDiffusion
from inpainting.models import Generation
from tests.api.bodies import shape_a
from tests.support import tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)  # workers are notified on commit

TOY = ModelFamily(
    name="toy",
    label="Toy",
    engine=DIFFUSION,
    layout=DiffusersLayout(
        pipelines=("ToyPipeline",),
        components={
            "unet": Component(("diffusers.UNet2DConditionModel",), has_weights=True),
            "vae": Component(("diffusers.AutoencoderKL",), has_weights=True),
            "text_encoder": Component(("transformers.CLIPTextModel",), has_weights=True),
            "tokenizer": Component(("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast")),
            "scheduler": Component(("diffusers.PNDMScheduler",)),
        },
    ),
    implementation=f"{__name__}:ToyModel",
    pipeline_class="StableDiffusionInpaintPipeline",
    pipeline_arguments={
        "safety_checker": None,
        "requires_safety_checker": False,
        "feature_extractor": None,
        "image_encoder": None,
    },
    latent_patch=4,
    schedulers=("EulerDiscreteScheduler",),
    max_guidance_scale=5.0,
    defaults={"steps": 2, "guidance_scale": 3.0, "scheduler": "EulerDiscreteScheduler", "width": 96, "height": 96},
    ignored_settings=frozenset({"clip_skip"}),
)


class ToyModel(StableDiffusion):
    """Stable Diffusion with every prediction negated."""

    calls: list[int] = []  # noqa: RUF012 - emptied by each test

    def predict(self, samples: Sequence[Any], backend: Backend = TORCH) -> list[torch.Tensor]:
        self.calls.append(len(samples))
        return [-prediction for prediction in super().predict(samples, backend)]


@pytest.fixture
def toy() -> Iterator[ModelFamily]:
    """Registers the family for one test."""
    families.register(TOY)
    ToyModel.calls.clear()
    yield TOY
    del families.registry[TOY.name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny pipeline in diffusers' layout."""
    tiny_models.sd(tmp_path).save_pretrained(tmp_path / "toy", safe_serialization=True)
    index = tmp_path / "toy" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "ToyPipeline"}))
    return tmp_path / "toy"


def test_its_model_is_added_and_paints_through_the_api(
    toy: ModelFamily,
    folder: Path,
    models_dir: Path,
    alices_program: Client,
    photo_png: bytes,
    mask_png: bytes,
    photo: Any,
    hole: Any,
) -> None:
    add_model("plaything", folder, family="toy")
    (offered,) = [entry for entry in alices_program.get("/api/models").json()["models"] if entry["id"] == "plaything"]
    assert (offered["family"], offered["installed"], offered["defaults"]) == ("toy", True, dict(toy.defaults))

    body = shape_a(photo_png, mask_png, prompt="a cat", seed="3", clip_skip="2", denoising_strength="1")
    answer = alices_program.post("/api/img2img", body)
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert (metadata["engine"], metadata["model"], metadata["steps"]) == ("diffusion", "plaything", 2)
    assert (metadata["guidance_scale"], metadata["scheduler"]) == (3.0, "EulerDiscreteScheduler")
    assert "clip_skip" in metadata["ignored"]
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    assert len(ToyModel.calls) == 2
    painted = np.asarray(Generation.objects.get().images.get(index=0).read().pixels)
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])


def test_its_limits_are_the_declared_ones(
    toy: ModelFamily, folder: Path, models_dir: Path, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    add_model("plaything", folder, family="toy")
    for changes, code in (
        ({"guidance_scale": "6"}, "field_out_of_range"),
        ({"preset": "draft"}, "preset_unavailable"),
        ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "scheduler_unfit"),
    ):
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **changes))
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    with pytest.raises(CommandError, match="toy"):
        call_command("add_lora", "ink", "--family", "toy", "--from", "ink.safetensors", stdout=StringIO())


def test_a_model_of_another_family_is_refused_by_name(toy: ModelFamily, folder: Path, models_dir: Path) -> None:
    with pytest.raises(CommandError, match="a model of the family toy, not sd"):
        add_model("plaything", folder, family="sd")


def test_without_the_declaration_the_family_is_unknown(folder: Path, models_dir: Path) -> None:
    with pytest.raises(CommandError, match="invalid choice: 'toy'"):
        add_model("plaything", folder, family="toy")
