"""ControlNets and IP-Adapters are added by command and used by the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import Engine
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.planning import planner
from tests.engines.diffusion.conditioning.adapter_requests import request
from tests.engines.diffusion.pipelines import ignore_step
from tests.support import tiny_adapters, tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    tiny_models.saved(folder / "tiny")
    tiny_adapters.saved_controlnet(folder / "edges", "sd", ControlImageKind.CANNY)
    tiny_adapters.saved_controlnet(folder / "far", "sd", ControlImageKind.DEPTH, cross_attention_dim=48)
    tiny_adapters.saved_controlnet(folder / "large", "sdxl", ControlImageKind.CANNY)
    tensors = tiny_adapters.adapter(tiny_models.sd(folder).unet, kind="plus")
    tiny_adapters.saved_adapter(folder / "look", "sd", tensors)
    return folder


@pytest.fixture
def engine(scratch: Path, models_dir: Path) -> Engine:
    added = {
        "edges": ["--kind=controlnet", "--control=canny"],
        "far": ["--kind=controlnet", "--control=depth"],
        "large": ["--kind=controlnet", "--control=canny"],
        "look": ["--kind=ip-adapter"],
    }
    for slug, options in added.items():
        add_model(slug, scratch / slug, *options, family="sdxl" if slug == "large" else "sd")
    add_model("tiny", scratch / "tiny", width=64, height=64)
    return registry.find("diffusion")


def painted(engine: Engine, **settings: Any) -> NDArray[np.uint8]:
    (image,) = engine.inpaint(planner().plan(request(model="tiny", **settings), "diffusion"), ignore_step)
    return image


def resolved(settings: PaintSettings) -> PaintSettings:
    return planner().resolve(DIFFUSION, settings).settings


def test_each_added_adapter_changes_the_image(engine: Engine) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"control": "edges"},
        {"control": "edges", "control_strength": 0.5},
        {"control": "edges", "control_end": 0.4},
        {"ip_adapter": "look"},
        {"ip_adapter": "look", "ip_adapter_scale": 0.5},
        {"control": "edges", "ip_adapter": "look"},
    ]
    images = [painted(engine, **way) for way in ways]
    assert len({image.tobytes() for image in images}) == len(ways)
    idle: list[dict[str, Any]] = [
        {"control": "edges", "control_strength": 0.0},
        {"control": "far", "control_strength": 0.0},  # has another shape: loading it would fail
        {"ip_adapter": "look", "ip_adapter_scale": 0.0},
    ]
    for way in idle:
        assert np.array_equal(painted(engine, **way), images[0])


def test_strength_and_interval_of_adapters_are_resolved(engine: Engine) -> None:
    bare = resolved(PaintSettings(model="tiny"))
    assert (bare.control_strength, bare.control_start, bare.control_end, bare.ip_adapter_scale) == (None,) * 4
    usual = resolved(PaintSettings(model="tiny", control="edges", ip_adapter="look", control_end=0.5))
    assert (usual.control_strength, usual.control_start, usual.control_end, usual.ip_adapter_scale) == (
        1.0,
        0.0,
        0.5,
        1.0,
    )


@pytest.mark.parametrize(
    ("requested", "code"),
    [
        ({"control": "nobody"}, "adapter_not_found"),
        ({"control": "look"}, "adapter_not_found"),
        ({"control": "large"}, "adapter_unfit"),
        ({"ip_adapter": "edges"}, "adapter_not_found"),
        ({"ip_adapter": "ip-adapter_sd15"}, "model_unavailable"),
    ],
)
def test_an_unknown_adapter_or_one_of_another_kind_or_family_is_refused(
    engine: Engine, requested: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        resolved(PaintSettings(model="tiny", **requested))
    assert (refused.value.code, refused.value.field) == (code, next(iter(requested)))


def test_an_adapter_of_another_shape_fails_when_it_is_used(engine: Engine) -> None:
    before = painted(engine)
    with pytest.raises(EngineFailed, match="far does not fit") as failed:
        painted(engine, control="far")
    assert failed.value.code == "adapter_unfit"
    assert np.array_equal(painted(engine), before)
