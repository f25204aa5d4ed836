"""What is recommended for which machine, and that the figures are those of the documentation."""

from __future__ import annotations

import pytest

from inpainting.catalog import shipped_recommendations
from inpainting.catalog.shipped import SHIPPED
from inpainting.catalog.shipped_recommendations import JOBS, Machine, recommendations
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.shipped_weights import WEIGHTS_RUNS
from inpainting.models import InferenceModel
from tests.support.installation import ROOT

GB = 2**30
MODELS = {spec.slug: InferenceModel.from_spec(spec) for spec in (*SHIPPED, *SHIPPED_TOOLS)}


def slugs(machine: Machine, *, has_token: bool = False) -> list[str | None]:
    found = recommendations(MODELS.values(), machine, has_token=has_token)
    return [None if advice.model is None else advice.model.slug for advice in found]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(GB), ["migan", None, "mobile-sam"]),
        (Machine(4 * GB), ["lama", None, "mobile-sam"]),
        (Machine(16 * GB), ["lama", "sd15-inpainting", "mobile-sam"]),
        (Machine(8 * GB, 6 * GB), ["lama", "sd15-inpainting", "sam2.1-tiny"]),
        (Machine(64 * GB, 12 * GB), ["lama", "sd15-inpainting", "sam2.1-tiny"]),
        (Machine(64 * GB, 16 * GB), ["lama", "sdxl-inpainting", "sam2.1-tiny"]),
        (Machine(64 * GB, 80 * GB), ["lama", "sdxl-inpainting", "sam2.1-tiny"]),
    ],
)
def test_the_best_model_with_room_is_recommended_for_each_job(machine: Machine, expected: list[str | None]) -> None:
    assert slugs(machine) == expected


def test_a_gated_model_is_recommended_where_it_can_be_had_and_named_where_not() -> None:
    machine = Machine(64 * GB, 48 * GB)
    assert slugs(machine, has_token=True)[1] == "flux-fill"
    _, replace, _ = recommendations(MODELS.values(), machine, has_token=False)
    assert replace.better is not None
    assert replace.better.slug == "flux-fill"


def test_where_nothing_has_room_the_need_of_the_smallest_is_told() -> None:
    _, replace, _ = recommendations(MODELS.values(), Machine(4 * GB), has_token=False)
    assert replace.model is None
    assert replace.needed_bytes == (10_000_000_000, 5_000_000_000)


def test_a_missing_library_is_named_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_recommendations, "find_spec", lambda name: None)
    found = recommendations(MODELS.values(), Machine(16 * GB), has_token=False)
    assert [advice.missing_extra for advice in found] == ["erase", "diffusion", "erase"]


def test_every_candidate_is_a_shipped_model_whose_gate_its_licence_tells() -> None:
    for job in JOBS:
        for candidate in job.candidates:
            assert candidate.is_gated == ("gated" in MODELS[candidate.slug].licence)
    assert slugs(Machine(0)) == [None, None, None]


def test_an_example_is_there_where_published_weights_have_run() -> None:
    candidates = [candidate for job in JOBS for candidate in job.candidates]
    with_example = {candidate.slug for candidate in candidates if candidate.example}
    assert with_example == {candidate.slug for candidate in candidates} & WEIGHTS_RUNS.keys()
    images = {path.name: path for path in (ROOT / "static/img/examples").iterdir()}
    assert images.keys() == {f"{slug}-{name}.webp" for slug in with_example for name in ("before", "after")}
    assert max(path.stat().st_size for path in images.values()) < 20_000


def test_the_times_are_measured_ones() -> None:
    told = [text for job in JOBS for one in job.candidates for text in (one.on_cpu, one.on_gpu) if text]
    assert told == ["about 4 minutes on two CPU cores (512 × 512, 30 steps)"]
    measured = (ROOT / "docs/measured.md").read_text()
    assert "| C4 | the same at default settings, 30 guided steps (composed) | 258 s |" in measured
