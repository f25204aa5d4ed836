"""Workers that differ: each claims what it can load, and leaves the rest to those that can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from inpainting.core.errors import OUT_OF_MEMORY, EngineFailed, InvalidRequest
from inpainting.engines.base import Queue
from inpainting.models import Analysis, Generation, InferenceModel, Lora, ModelState, Status, Worker
from inpainting.models.worker import BEAT_SECONDS, DEAD_SECONDS, REMEMBERED_SECONDS
from inpainting.worker import capabilities, fleet
from inpainting.worker import run as running
from inpainting.worker.fleet import Membership
from inpainting.worker.queue import fair_queue
from inpainting.worker.queue.claim_gate import claim_gate
from inpainting.worker.queue.fair_queue import start_next, startable_here
from inpainting.worker.run_time_estimates import QueuePosition, positions, queue_position
from inpainting.worker_name import WORKER
from tests.support import analyses
from tests.worker.queueing import UNIT, add

pytestmark = pytest.mark.django_db
NOBODY_ELSE = "No other worker that runs can load it."
GB = 2**30
SLOTS = {Queue.CPU: 2, Queue.GPU: 8, Queue.ANALYSIS: 1}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock of the fleet: clock[0] is the time in seconds."""
    now = [1000.0]
    for module in (fleet, capabilities):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def here(
    settings: Settings, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Membership]:
    """This process as a worker of several, without any file of a model."""
    settings.IS_ALONE, settings.MODELS_DIR = False, tmp_path / "models"
    membership = Membership()
    for module in (fair_queue, running):
        monkeypatch.setattr(module, "membership", membership)
    monkeypatch.setattr(fair_queue, "_served", set())
    fleet._slots.cache_clear()
    membership.join(SLOTS)
    yield membership
    capabilities._failed.clear()


def other(name: str = "host:1:other", *loadable: str, seconds_ago: float = 0, **columns: Any) -> Worker:
    """A worker of both queues beside this one. seconds_ago: its last heartbeat."""
    seen = timezone.now() - timedelta(seconds=seconds_ago)
    row = {"loadable": sorted(loadable), "started_at": seen, "seen_at": seen, "cpu_slots": 1, "gpu_slots": 1}
    return Worker.objects.create(name=name, parent=name, **{**row, **columns})


def offered(slug: str, **columns: Any) -> InferenceModel:
    """A model that the site has, somewhere."""
    InferenceModel.objects.filter(slug=slug).update(state=ModelState.INSTALLED, **columns)
    return InferenceModel.objects.get(slug=slug)


def put_here(slug: str, content: bytes = b"weights") -> None:
    """Give this process a file of a model."""
    folder = InferenceModel(slug=slug).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(content)


def add_for(owner: User, model: str, *, queue: Queue = Queue.CPU, **settings: Any) -> Generation:
    generation = add(owner, UNIT)
    filled = {"prompt": "", "seed": 1, **generation.settings, "model": model, **settings}
    Generation.objects.filter(pk=generation.pk).update(model=model, queue=queue, settings=filled)
    return Generation.objects.get(pk=generation.pk)


def later(here: Membership, clock: list[float], seconds: float) -> None:
    """Let time pass, in which this process and the others go on."""
    for _ in range(int(seconds // BEAT_SECONDS) + 1):
        clock[0] += BEAT_SECONDS
        here.beat_if_due()


# What is claimed


def test_work_of_a_model_that_only_another_worker_has_stays_for_that_one(alice: User, here: Membership) -> None:
    offered("lama")
    other("b", "lama")
    first, second = add_for(alice, "lama"), add_for(alice, "")
    here.look()
    assert set(startable_here(Queue.CPU)) == {second}
    assert [start_next(), start_next()] == [second, None]
    first.refresh_from_db()
    assert (first.status, first.attempts) == (Status.QUEUED, 0)
    put_here("lama")
    here.look()
    assert start_next() == first


def test_what_all_workers_have_is_claimed_as_ever_by_the_same_statements(alice: User, here: Membership) -> None:
    offered("lama")
    put_here("lama")
    other("b", "lama")
    here.look()
    add_for(alice, "lama")
    add_for(alice, "lama")
    assert not here.leaves_some
    with CaptureQueriesContext(connection) as in_the_fleet:
        assert start_next() is not None
    here.capabilities = capabilities.Capabilities()
    with CaptureQueriesContext(connection) as without:
        assert start_next() is not None
    assert len(in_the_fleet) == len(without)


def test_files_that_are_nowhere_are_expected_for_a_while_and_then_missed_aloud(
    alice: User, here: Membership, clock: list[float]
) -> None:
    offered("lama")
    here.look()
    generation = add_for(alice, "lama")
    assert start_next() is None, "another worker may only be starting"
    later(here, clock, REMEMBERED_SECONDS)
    assert start_next() == generation, "nobody has it: to wait for ever would tell nobody"


def test_after_an_outage_the_others_are_expected_anew(alice: User, here: Membership, clock: list[float]) -> None:
    offered("lama")
    worker = other("b", "lama")
    later(here, clock, 2 * REMEMBERED_SECONDS)
    add_for(alice, "lama")
    outage = REMEMBERED_SECONDS + DEAD_SECONDS
    clock[0] += outage
    Worker.objects.filter(pk=worker.pk).update(seen_at=timezone.now() - timedelta(seconds=outage))
    here.beat_if_due()
    assert start_next() is None


@pytest.mark.parametrize(
    ("columns", "waits"),
    [
        ({}, True),
        ({"is_drained": True}, True),
        ({"problem": "storage cannot be written"}, True),
        ({"stopped_at": datetime(2026, 1, 1, tzinfo=UTC)}, True),
        ({"seconds_ago": REMEMBERED_SECONDS / 2}, True),
        ({"seconds_ago": REMEMBERED_SECONDS + 1}, False),
    ],
    ids=str,
)
def test_a_worker_that_comes_back_is_waited_for(
    alice: User, here: Membership, clock: list[float], columns: dict[str, Any], waits: bool
) -> None:
    later(here, clock, 1)
    offered("lama")
    here.look()
    clock[0] += REMEMBERED_SECONDS + 1
    here._last_beat = clock[0]  # it has beaten meanwhile
    other("b", "lama", **columns)
    here.look()
    generation = add_for(alice, "lama")
    assert start_next() == (None if waits else generation)


@pytest.fixture
def gpu_here(here: Membership, settings: Settings) -> Callable[[int], None]:
    """gpu_here(gigabytes) lets this process serve the GPU queue, with as much memory."""

    def serve(gigabytes: int) -> None:
        settings.QUEUES, settings.DIFFUSION_MEMORY_MB = ["gpu"], round(gigabytes * GB / 1e6)
        here.join(SLOTS)

    return serve


def test_a_model_that_is_too_large_is_left_to_the_larger_card(
    alice: User, here: Membership, gpu_here: Callable[[int], None]
) -> None:
    offered("sd15", memory_bytes=4 * GB)
    offered("sdxl-inpainting", memory_bytes=40 * GB)
    put_here("sd15")
    put_here("sdxl-inpainting")
    large, small = (add_for(alice, slug, queue=Queue.GPU) for slug in ("sdxl-inpainting", "sd15"))
    larger = other("b", "sd15", "sdxl-inpainting", memory_bytes=80 * GB)
    gpu_here(24)
    assert here.capabilities.unfit == {"sdxl-inpainting": "it needs 40 GB of memory, of which there are 24"}
    assert [start_next(Queue.GPU), start_next(Queue.GPU)] == [small, None]
    larger.delete()
    here.look()
    assert start_next(Queue.GPU) == large, "offloading is slow, and better than nothing"


def test_a_card_that_is_large_enough_takes_both(alice: User, gpu_here: Callable[[int], None]) -> None:
    offered("sdxl-inpainting", memory_bytes=40 * GB)
    put_here("sdxl-inpainting")
    other("b", memory_bytes=24 * GB)
    generation = add_for(alice, "sdxl-inpainting", queue=Queue.GPU)
    gpu_here(80)
    assert start_next(Queue.GPU) == generation


@pytest.mark.parametrize(
    "used",
    [{"loras": [{"slug": "ink", "weight": 1.0}]}, {"vae": "ink"}, {"embeddings": ["ink"]}, {"control": "ink"}],
    ids=str,
)
def test_an_adapter_is_needed_as_the_model_is(
    alice: User, here: Membership, gpu_here: Callable[[int], None], used: dict[str, Any]
) -> None:
    offered("sd15", memory_bytes=GB)
    put_here("sd15")
    if "loras" in used:
        Lora.objects.create(slug="ink", label="Ink", family="sd", sha256="0" * 64, size_bytes=1)
    else:
        InferenceModel.objects.create(
            slug="ink", label="Ink", family="sd", kind="vae", state=ModelState.INSTALLED, enabled=True
        )
    other("b", "sd15", "ink")
    with_it, without = add_for(alice, "sd15", queue=Queue.GPU, **used), add_for(alice, "sd15", queue=Queue.GPU)
    gpu_here(24)
    assert set(here.capabilities.absent) == {"ink"}
    assert [start_next(Queue.GPU), start_next(Queue.GPU)] == [without, None]
    with_it.refresh_from_db()
    assert with_it.attempts == 0


def test_a_model_and_an_adapter_on_two_workers_are_on_none(
    alice: User, here: Membership, gpu_here: Callable[[int], None], clock: list[float]
) -> None:
    offered("sd15", memory_bytes=GB)
    put_here("sd15")
    Lora.objects.create(slug="ink", label="Ink", family="sd", sha256="0" * 64, size_bytes=1)
    other("b", "ink")
    generation = add_for(alice, "sd15", queue=Queue.GPU, loras=[{"slug": "ink", "weight": 1.0}])
    gpu_here(24)
    later(here, clock, REMEMBERED_SECONDS)
    assert start_next(Queue.GPU) == generation


def test_work_that_must_run_alone_on_another_worker_blocks_nothing_here(alice: User, here: Membership) -> None:
    offered("lama")
    other("b", "lama")
    here.look()
    alone, ordinary = add_for(alice, "lama"), add_for(alice, "")
    Generation.objects.filter(pk=alone.pk).update(run_alone=True)
    assert start_next() == ordinary


def test_an_analysis_waits_for_the_worker_that_has_its_segmenter(
    alice: User, here: Membership, photo_png: bytes
) -> None:
    offered("u2netp")
    other("b", "u2netp")
    here.look()
    analysis = analyses.queued(alice, photo_png)
    Analysis.objects.filter(pk=analysis.pk).update(model="u2netp")
    assert start_next(Queue.ANALYSIS) is None
    put_here("u2netp")
    here.look()
    assert start_next(Queue.ANALYSIS) == analysis


def test_a_process_that_is_alone_leaves_nothing_and_asks_nobody(
    alice: User, settings: Settings, here: Membership
) -> None:
    settings.IS_ALONE = True
    offered("lama")
    other("b", "lama")
    here.look()
    generation = add_for(alice, "lama")
    assert start_next() == generation
    with CaptureQueriesContext(connection) as queries:
        here.look()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"] * len(queries), "nothing has changed"


# What fails to load


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def paint(*args: object) -> None:
        raise error

    monkeypatch.setattr(running, "paint", paint)


def not_loaded(slug: str) -> EngineFailed:
    error = EngineFailed("The model LaMa cannot be loaded: its header is cut off", code="model_refused")
    error.not_loaded = slug
    return error


def test_what_failed_to_load_is_left_to_the_others(
    alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    offered("lama")
    put_here("lama")
    other("b", "lama")
    here.look()
    generation, next_one = add_for(alice, "lama"), add_for(alice, "lama")
    failing(monkeypatch, not_loaded("lama"))
    running.run_waiting()
    for work in (generation, next_one):
        work.refresh_from_db()
        assert (work.status, work.attempts) == (Status.QUEUED, 0)
    assert Worker.objects.get(name=WORKER).lacking == {"lama": "The model LaMa cannot be loaded: its header is cut off"}
    put_here("lama", b"other weights")
    here.look()
    assert here.capabilities.loadable == {"lama"}, "the files have changed"
    assert start_next() == next_one, "the one that failed is still left to the others"
    clock[0] += REMEMBERED_SECONDS
    here.look()
    assert start_next() == generation


def test_what_no_worker_can_load_fails_and_says_so(
    alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered("lama")
    put_here("lama")
    other("b", lacking={"lama": "its header is cut off"})
    here.look()
    failing(monkeypatch, not_loaded("lama"))
    generation, next_one = add_for(alice, "lama"), add_for(alice, "lama")
    running.run_waiting()
    for work in (generation, next_one):
        work.refresh_from_db()
        assert (work.status, work.error_code) == (Status.FAILED, "model_refused")
        assert work.error_message == f"The model LaMa cannot be loaded: its header is cut off. {NOBODY_ELSE}"


def test_a_file_that_was_away_for_a_moment_is_tried_again_after_longer_each_time(
    here: Membership, clock: list[float]
) -> None:
    offered("lama")
    put_here("lama")
    for pause in (1, 2, 4):
        for _ in range(2):  # two at the same time
            capabilities.record_failed_load("lama", "Stale file handle")
        clock[0] += pause * capabilities.TRY_AGAIN_SECONDS - 1
        here.look()
        assert here.capabilities.unfit == {"lama": "Stale file handle"}
        clock[0] += 1
        here.look()
        assert here.capabilities.loadable == {"lama"}


def test_work_that_all_workers_return_again_and_again_ends(
    alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered("lama")
    put_here("lama")
    other("b", "lama")
    generation = add_for(alice, "lama")
    Generation.objects.filter(pk=generation.pk).update(fence=fleet.MAX_FENCE)
    failing(monkeypatch, not_loaded("lama"))
    running.run_waiting()
    generation.refresh_from_db()
    assert generation.status == Status.FAILED


def test_what_no_worker_of_its_queue_can_load_is_not_left_to_those_of_others(
    alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a safety checker, which the workers of all queues load."""
    offered("safety-checker")
    put_here("safety-checker")
    other("b", "safety-checker", cpu_slots=0)
    generation = add_for(alice, "")
    failing(monkeypatch, not_loaded("safety-checker"))
    running.run_waiting()
    generation.refresh_from_db()
    assert generation.status == Status.FAILED


def test_what_no_worker_looks_for_fails_at_once(alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of which no worker says whether it can load it; else they would leave it to each other for ever."""
    other("b")
    generation = add_for(alice, "")
    failing(monkeypatch, not_loaded("unlisted"))
    running.run_waiting()
    generation.refresh_from_db()
    assert generation.status == Status.FAILED


@pytest.mark.parametrize(
    ("slug", "code"),
    [("safety-checker", "safety_checker_unavailable"), ("depth-anything-v2-small", "control_image_missing")],
)
def test_a_model_that_no_request_names_is_missed_when_it_is_needed(
    alice: User,
    here: Membership,
    gpu_here: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    clock: list[float],
    slug: str,
    code: str,
) -> None:
    offered("sd15", memory_bytes=GB)
    put_here("sd15")
    offered(slug)
    worker = other("b", "sd15", slug)
    gpu_here(24)
    generation = add_for(alice, "sd15", queue=Queue.GPU)
    failing(monkeypatch, InvalidRequest("It is missing.", code=code))
    running.run_waiting(Queue.GPU)
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.QUEUED, 0)
    worker.delete()
    later(here, clock, REMEMBERED_SECONDS)
    running.run_waiting(Queue.GPU)
    generation.refresh_from_db()
    assert (generation.status, generation.error_message) == (
        Status.FAILED,
        f"It is missing. {NOBODY_ELSE}",
    )


def test_a_model_that_was_added_elsewhere_a_moment_ago_is_left_though_it_was_claimed(
    alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has not looked at the catalog since."""
    generation = add_for(alice, "lama")
    offered("lama")
    failing(monkeypatch, InvalidRequest("The model LaMa is not installed", code="model_unavailable"))
    running.run_waiting()
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.QUEUED, 0)


@pytest.mark.parametrize(("memory_bytes", "status"), [(80 * GB, Status.QUEUED), (16 * GB, Status.FAILED)])
def test_what_is_out_of_memory_is_left_to_those_with_more(
    alice: User,
    here: Membership,
    gpu_here: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    memory_bytes: int,
    status: Status,
) -> None:
    offered("sd15", memory_bytes=GB)
    put_here("sd15")
    other("b", "sd15", memory_bytes=memory_bytes)
    gpu_here(24)
    generation = add_for(alice, "sd15", queue=Queue.GPU)
    failing(monkeypatch, EngineFailed("The device's memory is too small", code=OUT_OF_MEMORY))
    running.run_waiting(Queue.GPU)
    generation.refresh_from_db()
    assert generation.status == status
    if status is Status.FAILED:
        assert generation.error_message == "The device's memory is too small"


def test_a_wrong_request_fails_here_as_everywhere(
    alice: User, here: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered("lama")
    put_here("lama")
    other("b", "lama")
    here.look()
    generation = add_for(alice, "lama")
    failing(monkeypatch, InvalidRequest("The mask is empty", code="mask_empty"))
    running.run_waiting()
    generation.refresh_from_db()
    assert (generation.status, generation.error_message) == (Status.FAILED, "The mask is empty")


# Drain


def test_a_drained_worker_claims_nothing_until_it_is_resumed(alice: User, here: Membership) -> None:
    own = Worker.objects.get(name=WORKER)
    running_already, generation = add_for(alice, ""), add_for(alice, "")
    assert start_next() == running_already
    assert own.drain()
    assert not own.drain()
    assert (start_next(), startable_here(Queue.CPU).count()) == (None, 0)
    running_already.refresh_from_db()
    assert running_already.advance(1, 2), "what runs goes on"
    assert own.resume()
    assert start_next() == generation


def test_one_drained_worker_stops_no_other(alice: User, here: Membership) -> None:
    other("b", is_drained=True)
    generation = add_for(alice, "")
    assert start_next() == generation


def test_the_next_child_of_the_same_parent_stays_drained(here: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Worker.objects.get().drain()
    monkeypatch.setattr("inpainting.models.worker.WORKER", "host:2:parent")
    Membership().join(SLOTS)
    row = Worker.objects.get()
    assert (row.name, row.is_drained) == ("host:2:parent", True)


# The row


def test_the_row_says_what_a_worker_serves_and_whether_it_runs(
    here: Membership, settings: Settings, gpu_here: Callable[[int], None]
) -> None:
    settings.DIFFUSION_DEVICE = "cuda:1"
    gpu_here(24)
    row = Worker.live().get()
    assert (row.queues, row.cpu_slots, row.gpu_slots) == (["gpu"], 0, 8)
    assert (row.device, row.memory_bytes, row.problem) == ("cuda:1", round(24 * GB, -6), "")
    assert row.version
    here.sign_off()
    assert not Worker.live().exists()
    assert Worker.recent().exists()


def test_a_heartbeat_is_one_update_and_a_look_at_models_and_loras(here: Membership, clock: list[float]) -> None:
    clock[0] += BEAT_SECONDS
    Worker.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    with CaptureQueriesContext(connection) as queries:
        here.beat_if_due()
        here.beat_if_due()
    assert sorted(query["sql"].split()[0] for query in queries) == ["SELECT", "SELECT", "UPDATE"]
    assert Worker.live().exists()


def test_a_row_that_was_deleted_is_written_again(here: Membership, clock: list[float]) -> None:
    Worker.objects.all().delete()
    clock[0] += BEAT_SECONDS
    here.beat_if_due()
    assert Worker.live().exists()


def test_rows_of_the_dead_disappear(here: Membership) -> None:
    other("dead", seconds_ago=DEAD_SECONDS + 1)
    other("long dead", seconds_ago=REMEMBERED_SECONDS + 1)
    assert set(Worker.live().values_list("name", flat=True)) == {WORKER}
    assert set(Worker.recent().values_list("name", flat=True)) == {WORKER, "dead"}
    Membership().join(SLOTS)
    assert set(Worker.objects.values_list("name", flat=True)) == {WORKER, "dead"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_state_follows_from_the_clock_of_the_database(
    here: Membership, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The clock of this machine is wrong."""
    now = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert [worker.state for worker in Worker.recent()] == ["ready"]


def test_a_heartbeat_in_the_future_is_older_than_a_change_of_the_clock(here: Membership) -> None:
    other("dead", seconds_ago=-3600)
    assert set(Worker.recent().values_list("name", flat=True)) == {WORKER}


def test_a_worker_that_is_not_ready_says_why(
    here: Membership, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    problems = {"storage": "cannot be written"}
    monkeypatch.setattr(claim_gate, "find_problems", lambda: problems)
    monkeypatch.setattr(claim_gate, "_open_until", float("-inf"))
    assert start_next() is None
    here.look()
    assert Worker.objects.get().problem == "storage cannot be written"
    problems.clear()
    monkeypatch.setattr(claim_gate, "_closed_until", float("-inf"))
    here.look()
    assert Worker.objects.get().problem == ""
    claim_gate.reset()


# ETA


def test_an_eta_counts_the_slots_of_all_workers_that_claim(alice: User, here: Membership) -> None:
    other("b", cpu_slots=2)
    other("drained", cpu_slots=100, is_drained=True)
    other("unready", cpu_slots=100, problem="storage cannot be written")
    other("stopped", cpu_slots=100, stopped_at=datetime(2026, 1, 1, tzinfo=UTC))
    other("dead", cpu_slots=100, seconds_ago=DEAD_SECONDS + 1)
    waiting = [add(alice, likely_seconds=20.0) for _ in range(8)]
    assert [queue_position(work) for work in waiting][3:5] == [QueuePosition(4, 20.0), QueuePosition(5, 40.0)]
    assert positions().of(waiting[-1].pk) == QueuePosition(8, 40.0)


def test_without_a_live_worker_there_is_no_eta(alice: User, here: Membership) -> None:
    Worker.objects.all().delete()
    fleet._slots.cache_clear()
    generation = add(alice, likely_seconds=20.0)
    assert queue_position(generation) == QueuePosition(1, None)
    assert positions().of(generation.pk) == QueuePosition(1, None)
