"""A plan says where a model hardly sees what surrounds the mask, and where lanpaint_steps have no effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from skimage import data

pytest.importorskip("torch", reason="diffusion is not installed")

from inpainting.catalog.specs import ControlImageKind
from inpainting.database.fair_tags import cost_of
from inpainting.models import Generation
from inpainting.worker.run_time_estimates import generation_workload
from tests.api.bodies import shape_a
from tests.conftest import png
from tests.support import tiny_adapters, tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)

PHOTO = np.ascontiguousarray(data.astronaut()[:64, :64])
HOLE = np.zeros((64, 64), np.uint8)
HOLE[16:48, 16:48] = 255
NOTE = "was not trained to fill a mask"


FAMILIES = {
    "plain": "sd",
    "filling": "sd",
    **{f"tiny-{name}": name for name in ("flux-fill", "flux-kontext", "z-image")},
}
"""Name of a tiny model -> its family."""


@pytest.fixture
def install(tmp_path: Path, models_dir: Path) -> Callable[..., None]:
    """Install tiny models of FAMILIES and ControlNets, by name."""

    def add(*names: str) -> None:
        for name in names:
            folder = tmp_path / name
            if name in FAMILIES:
                tiny_models.saved(folder, FAMILIES[name], inpainting=name != "plain")
                add_model(name, folder, family=FAMILIES[name], width=64, height=64, steps=2)
            else:
                tiny_adapters.saved_controlnet(folder, "sd", ControlImageKind(name))
                add_model(name, folder, "--kind", "controlnet", "--control", name)

    return add


def sent(mask: np.ndarray[Any, Any] = HOLE, **fields: Any) -> dict[str, Any]:
    values = {"prompt": "a patch", "seed": 5, "denoising_strength": 1, **fields}
    return shape_a(png(PHOTO), png(255 - mask), **{name: str(value) for name, value in values.items()})


def has_note(answer: dict[str, Any]) -> bool:
    return any(NOTE in warning for warning in answer["warnings"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "plain"}, True),
        ({"model": "tiny-z-image"}, True),
        ({"model": "plain", "control": "canny"}, True),
        ({"model": "plain", "lanpaint_steps": 0}, True),
        ({"model": "plain", "lanpaint_steps": 1}, False),
        ({"model": "plain", "denoising_strength": 0.99}, False),
        ({"model": "plain", "control": "inpaint"}, False),
        ({"model": "filling"}, False),
        ({"model": "tiny-flux-fill"}, False),
        ({"model": "tiny-flux-kontext"}, False),
        ({"engine": "quick-fill"}, False),
    ],
)
def test_a_model_that_hardly_sees_the_surroundings_is_named(
    alices_program: Client, install: Callable[..., None], fields: dict[str, Any], expected: bool
) -> None:
    install(*[fields[name] for name in ("model", "control") if name in fields])
    given = {"prompt": "a patch", "denoising_strength": 1, **fields}
    without_images = alices_program.post("/api/plan/", given, content_type="application/json").json()
    with_images = alices_program.post("/api/plan/", sent(**fields)).json()
    assert has_note(without_images) == has_note(with_images) == expected


def test_the_note_is_in_the_metadata_of_a_painted_image(alices_program: Client, install: Callable[..., None]) -> None:
    install("plain")
    painted = alices_program.post("/api/img2img", sent(model="plain")).json()["metadata"]
    assert has_note(painted)


def test_without_a_mask_there_are_no_surroundings(alices_program: Client, install: Callable[..., None]) -> None:
    install("plain")
    everything = np.full_like(HOLE, 255)
    planned = alices_program.post("/api/plan/", sent(everything, model="plain", lanpaint_steps=3)).json()
    assert not has_note(planned)
    assert "lanpaint_steps" in planned["ignored"]
    assert not has_note(alices_program.post("/api/plan/", sent(everything, model="plain")).json())


@pytest.mark.parametrize(
    ("model", "calls"), [("plain", 8), ("tiny-z-image", 8), ("tiny-flux-kontext", 8), ("filling", 2)]
)
def test_lanpaint_steps_count_as_work_except_where_they_are_ignored(
    alices_program: Client, install: Callable[..., None], model: str, calls: int
) -> None:
    install(model)
    answer = alices_program.post("/api/img2img", sent(model=model, lanpaint_steps=3)).json()
    generation = Generation.objects.get()
    assert answer["metadata"]["results"][0]["outside_mask_changed_pixels"] == 0
    assert ("lanpaint_steps" in answer["metadata"]["ignored"]) == (calls == 2)
    assert generation.step == generation.steps == calls
    assert generation_workload(generation).steps == calls
    assert generation.cost == cost_of(64 * 64, images=1, steps=calls)


def test_a_process_without_the_files_goes_by_the_default_strength(
    alices_program: Client, install: Callable[..., None], settings: Any, tmp_path: Path
) -> None:
    install("plain", "filling")
    settings.MODELS_DIR, settings.ROLE = tmp_path / "on another machine", "web"
    given = {"prompt": "a patch", "denoising_strength": 1}
    for model, expected in (("plain", True), ("filling", False)):
        answer = alices_program.post("/api/plan/", {**given, "model": model}, content_type="application/json").json()
        assert has_note(answer) == expected
        assert ("lanpaint_steps" in answer["ignored"]) == (not expected)
