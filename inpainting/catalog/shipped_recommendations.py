"""Which shipped models the pages recommend: for each job the best one that a machine's memory has room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.core.sentences import mark
from inpainting.core.setting import DIFFUSION, ERASE
from inpainting.families.declaration import SEGMENTATION

ROOM = 1.25
"""Memory for each byte of a model's estimated need: a GPU of 24 GB for 19 GB, as docs/use/models.md has it."""
FULL_PRECISION = 2
"""A CPU computes diffusion in 32 bits a number, the estimates are of 16; those of other networks are as they run."""
ONNX, TORCH = "onnxruntime", "torch"
EXTRAS = {ONNX: "erase", TORCH: "diffusion"}
"""Library -> the extra of pyproject.toml that installs it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """memory_bytes: of the machine. gpu_bytes: of the CUDA device that computes, 0 without one."""

    memory_bytes: int
    gpu_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RecommendedModel:
    """A shipped model that may be recommended.

    words: what it is for. library: that it runs through. on_cpu, on_gpu: how long it takes there, as docs/measured.md
    has it; empty: not measured; None: it is not recommended there.
    """

    slug: str
    words: str
    library: str = ONNX
    on_cpu: str | None = None
    on_gpu: str | None = None
    is_gated: bool = False
    """Its licence has to be accepted on the hub; a pull needs a token of somebody who did."""
    example: str = ""
    """What the images before and after show that its published weights made, which `benchmarks.example_pairs` writes;
    empty: there are none, as the weights have not run."""


@dataclass(frozen=True, slots=True)
class RecommendedJob:
    """What people want to do. engine: of the models that do it. otherwise: what does it without one. candidates: the
    best first."""

    engine: str
    title: str
    otherwise: str
    candidates: tuple[RecommendedModel, ...]
    works_without: bool = True


JOBS = (
    RecommendedJob(
        engine=ERASE,
        title=mark("Remove"),
        otherwise=mark("Quick fill, which needs no model, copies what is around the hole."),
        candidates=(
            RecommendedModel(
                "lama",
                mark("Takes large things out of a photo: walls, floors and patterns go on behind them."),
                on_cpu="",
            ),
            RecommendedModel(
                "migan",
                mark("Takes things out of a photo with a network of a seventh of LaMa’s size."),
                on_cpu="",
                example=mark("A man films on a lawn; the tripod of the camera is removed."),
            ),
        ),
    ),
    RecommendedJob(
        engine=DIFFUSION,
        title=mark("Replace by words"),
        otherwise=mark("Nothing here reads a prompt yet."),
        works_without=False,
        candidates=(
            RecommendedModel(
                "flux-fill",
                mark("Paints what you describe, the closest to your words and with the best seams of all."),
                TORCH,
                on_gpu="",
                is_gated=True,
            ),
            RecommendedModel(
                "sdxl-inpainting", mark("Paints what you describe, with detail at 1024 × 1024."), TORCH, on_gpu=""
            ),
            RecommendedModel(
                "sd15-inpainting",
                mark("Paints what you describe, at 512 × 512: the place to start."),
                TORCH,
                on_cpu=mark("about 4 minutes on two CPU cores (512 × 512, 30 steps)"),
                on_gpu="",
            ),
        ),
    ),
    RecommendedJob(
        engine=SEGMENTATION,
        title=mark("Select objects"),
        otherwise=mark("So far a click selects by colours and edges, which is rough."),
        candidates=(
            RecommendedModel(
                "sam2.1-tiny", mark("Selects what is under a click or in a box, on the GPU."), TORCH, on_gpu=""
            ),
            RecommendedModel("mobile-sam", mark("Selects what is under a click or in a box."), on_cpu=""),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """model: None where no candidate has room; `needed_bytes` is then what the smallest needs, on a CPU and on a GPU.

    seconds: how long it takes, empty where it was not measured. better: one that has room, but is gated.
    missing_extra: the extra that this installation lacks for it. example: of the candidate.
    """

    job: RecommendedJob
    model: InferenceModel | None
    words: str = ""
    seconds: str = ""
    better: InferenceModel | None = None
    missing_extra: str = ""
    example: str = ""
    needed_bytes: tuple[int, int] = (0, 0)


def recommendations(models: Iterable[InferenceModel], machine: Machine, *, has_token: bool) -> list[Recommendation]:
    """Return one for each job. models: of the catalog. has_token: whether a pull can open gated repositories."""
    by_slug = {model.slug: model for model in models}
    return [recommendation(job, by_slug, machine, has_token=has_token) for job in JOBS]


def recommendation(
    job: RecommendedJob, models: Mapping[str, InferenceModel], machine: Machine, *, has_token: bool
) -> Recommendation:
    better = None
    for candidate in job.candidates:
        model = models.get(candidate.slug)
        seconds = None if model is None else seconds_on(candidate, model, machine)
        if model is None or seconds is None:
            continue
        if candidate.is_gated and not (has_token or model.is_installed):
            better = better or model
            continue
        missing = "" if find_spec(candidate.library) else EXTRAS[candidate.library]
        return Recommendation(job, model, candidate.words, seconds, better, missing, candidate.example)
    smallest = job.candidates[-1]
    needed = (models[smallest.slug].memory_bytes or 0) * ROOM if smallest.slug in models else 0
    return Recommendation(job, None, needed_bytes=(int(needed * cpu_factor(smallest)), int(needed)))


def seconds_on(candidate: RecommendedModel, model: InferenceModel, machine: Machine) -> str | None:
    """Return how long the model takes on the machine, empty where not measured; None where it has no room."""
    needed = (model.memory_bytes or 0) * ROOM
    if candidate.on_gpu is not None and needed <= machine.gpu_bytes:
        return candidate.on_gpu
    if candidate.on_cpu is not None and needed * cpu_factor(candidate) <= machine.memory_bytes:
        return candidate.on_cpu
    return None


def cpu_factor(candidate: RecommendedModel) -> int:
    return FULL_PRECISION if candidate.library == TORCH else 1
