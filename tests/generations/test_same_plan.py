"""Submit, batches, run again, retry, plan with images, worker and command make the same plan from the same request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from skimage import data

from accounts.models import User
from inpainting.cli.jobs import build_jobs
from inpainting.cli.options import option_name
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import SETTINGS
from inpainting.engines.base import Plan
from inpainting.engines.plan import plan_images
from inpainting.generations.batches import BatchInput, retry, submit_batch
from inpainting.generations.submit import Submission, submit
from inpainting.models import Generation
from inpainting.planning import planner
from tests.api.bodies import shape_a, upload
from tests.conftest import png
from tests.support import fake_diffusion

pytestmark = pytest.mark.django_db
GUIDE = np.ascontiguousarray(data.coffee()[:64, :96])


@dataclass(frozen=True)
class Case:
    """A request in the API's field names. control_image: whether one is sent."""

    engine: str
    fields: dict[str, Any]
    control_image: bool = False


CASES = {
    "quick-fill": Case("auto", {"mask_grow": 3, "denoising_strength": 0.5, "seed": 4}),
    "quick-fill, control image": Case("quick-fill", {"control": "depth", "seed": 4}, control_image=True),
    "diffusion": Case("auto", {"prompt": "a lawn", "seed": 4, "steps": 7}),
    "diffusion, unguided": Case(
        "diffusion", {"prompt": "a lawn", "seed": 4, "guidance_scale": 1, "negative_prompt": "x"}
    ),
    "diffusion, depth": Case("auto", {"control": "depth", "control_end": 0.5, "seed": 4}, control_image=True),
    "diffusion, computed control": Case("auto", {"control": "canny", "seed": 4}, control_image=True),
    "no control": Case("auto", {"prompt": "a lawn", "control_strength": 0.5, "seed": 4}, control_image=True),
}


@dataclass(frozen=True)
class Facts:
    """The stored part of a plan."""

    engine: str
    settings: dict[str, Any]
    ignored: tuple[str, ...]
    warnings: tuple[str, ...]


def facts_of(plan: Plan) -> Facts:
    return Facts(plan.engine.name, jsonable(asdict(plan.settings)), tuple(sorted(plan.ignored)), plan.warnings)


def stored(generation: Generation) -> Facts:
    generation.refresh_from_db()
    return Facts(generation.engine, generation.settings, tuple(generation.ignored), tuple(generation.warnings))


def jsonable(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def settings_of(case: Case) -> PaintSettings:
    names = {row.public_name or row.name: row.name for row in SETTINGS}
    return PaintSettings(**{names[name]: value for name, value in case.fields.items()})


@pytest.fixture
def catalog(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """The requests that reach the diffusion engine."""
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models()
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda queue: None)
    return fake_diffusion.record_requests(monkeypatch)


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def request_(case: Case, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> InpaintRequest:
    images = {"control_image": CanonicalImage(GUIDE)} if case.control_image else {}
    return InpaintRequest(CanonicalImage(photo), hole, settings_of(case), images)


@pytest.mark.usefixtures("catalog")
def test_every_way_to_submit_stores_the_plan(case: Case, request_: InpaintRequest, alice: User) -> None:
    expected = facts_of(planner().plan(request_, case.engine))
    submitted = submit(request_, Submission(alice, engine=case.engine))
    assert stored(submitted) == expected
    again = submit(submitted.to_request(request_.settings), Submission(alice, engine=case.engine, parent=submitted))
    assert stored(again) == expected
    batch = submit_batch([BatchInput("a", request_)], owner=alice, engine=case.engine)
    item: Any = batch.items.get().generation
    assert stored(item) == expected
    assert item.cancel()
    assert retry(batch).accepted == (0,)
    retried: Any = batch.items.get().generation
    assert retried != item
    assert stored(retried) == expected


@pytest.mark.usefixtures("catalog")
def test_the_worker_paints_from_the_stored_plan(case: Case, request_: InpaintRequest, alice: User) -> None:
    generation = submit(request_, Submission(alice, engine=case.engine))
    expected = planner().plan(request_, case.engine)
    assert generation.planned_window == expected.window
    plan = planner().plan_stored(generation.to_request(), generation.engine, generation.planned_window)
    assert facts_of(plan) == facts_of(expected)
    assert np.array_equal(plan.mask, expected.mask)
    assert plan.window == expected.window
    assert (plan.model, plan.adapters) == (expected.model, expected.adapters)
    assert plan.images.keys() == expected.images.keys()


@pytest.mark.usefixtures("catalog")
def test_the_plan_shows_the_plan(
    case: Case, request_: InpaintRequest, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    plan = planner().plan(request_, case.engine)
    images = {"control_image": upload(png(GUIDE), name="guide.png")} if case.control_image else {}
    fields = {"prompt": "", **{name: str(value) for name, value in case.fields.items()}, "engine": case.engine}
    body = shape_a(photo_png, mask_png, **fields, **images)
    answer = alices_program.post("/api/plan/", body).json()
    box = plan.window.box
    assert (answer["engine"], answer["engine_reason"]) == (plan.engine.name, plan.reason)
    assert answer["window"] == [box.left, box.top, box.right, box.bottom]
    assert answer["warnings"] == list(plan.warnings)
    values = asdict(plan.settings).items()
    given = {name for name, value in values if value is not False and value not in (None, "", [], ())}
    names = {row.name: row.public_name or row.name for row in SETTINGS}
    assert answer["ignored"] == sorted(names[name] for name in given & plan.ignored.keys())


@pytest.mark.usefixtures("catalog")
def test_the_command_paints_from_the_plan(
    case: Case, request_: InpaintRequest, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    for name, image in {"a.png": photo_png, "mask.png": mask_png, "guide.png": png(GUIDE)}.items():
        (tmp_path / name).write_bytes(image)
    options = {row.name: None for row in SETTINGS} | settings_of(case).to_dict(exclude_defaults=True)
    paths = {"image": tmp_path / "a.png", "mask": tmp_path / "mask.png", "out": tmp_path / "out.png"}
    images = {"control_image": tmp_path / "guide.png" if case.control_image else None, "ip_adapter_image": None}
    options |= {"engine": case.engine, "mask_polarity": "black_repaints", **paths, **images}
    messages: list[str] = []
    (job,) = build_jobs(options, messages.append)
    expected = planner().plan(request_, case.engine)
    assert facts_of(plan_images(request_, job.plan)) == facts_of(expected)
    sent = settings_of(case).to_dict(exclude_defaults=True).keys()
    assert {line.split()[0] for line in messages} == {option_name(name) for name in expected.ignored.keys() & sent}


@pytest.mark.usefixtures("catalog")
def test_unresolved_stored_settings_are_resolved_before_painting(
    alice: User, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, prompt="a lawn", run=False)
    Generation.objects.filter(pk=generation.pk).update(
        settings={**generation.settings, "model": None, "steps": None, "guidance_scale": None, "scheduler": None}
    )
    generation.refresh_from_db()
    plan = planner().plan_stored(generation.to_request(), generation.engine)
    assert (plan.settings.model, plan.settings.steps, plan.settings.guidance_scale) == ("tiny", 30, 7.5)
