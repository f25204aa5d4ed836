"""After a crash each generation that was in flight runs alone. A crash counts where nothing else can be its cause."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status, queued_work
from inpainting.models.queued_work import MAX_CRASHES, MAX_PAUSE_SECONDS, pause_after
from inpainting.networks import interrupted_loads
from inpainting.worker import own_threads, poller, watchdog
from inpainting.worker.queue import fair_queue
from inpainting.worker.queue.fair_queue import start_next
from tests.support.fakes import PlainEngine, declared

Generate = Callable[..., Generation]


class GpuEngine(PlainEngine):
    declaration = declared("erase", queue=Queue.GPU)


@pytest.fixture(autouse=True)
def _no_queue_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "_served", set())


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine `erase` is on the GPU queue."""
    monkeypatch.setitem(registry.engines(), "erase", GpuEngine())


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that crashed its process is not kept back."""
    monkeypatch.setattr(queued_work, "pause_after", lambda crashes: 0)


def crash() -> None:
    """The process ends by itself; the next one requeues its generations, before any worker runs."""
    poller.return_lost_work([os.getpid()], is_alone=True)


def crash_alone(generation: Generation, times: int, *, step: int = 0) -> Generation:
    """The process crashes so often while it runs the generation, at that step. Returns the row."""
    for _ in range(times):
        assert start_next() == generation
        Generation.objects.filter(pk=generation.pk).update(step=step)
        crash()
    return Generation.objects.get(pk=generation.pk)


def with_model(generation: Generation) -> Generation:
    Generation.objects.filter(pk=generation.pk).update(model="sd15")
    return Generation.objects.get(pk=generation.pk)


def start_all(queue: Queue = Queue.CPU) -> list[Generation]:
    return list(iter(lambda: start_next(queue), None))


def finish(generation: Generation) -> None:
    generation.refresh_from_db()
    assert generation.succeed([])


def crashed_together(owner: User, generate: Generate, number: int = 3) -> list[Generation]:
    """Generations whose process crashed while it ran all of them."""
    generations = [generate(owner, run=False) for _ in range(number)]
    assert len(start_all()) == number
    crash()
    for generation in generations:
        generation.refresh_from_db()
    return generations


def test_a_crash_beside_others_is_no_attempt_and_one_alone_is(alice: User, generate: Generate) -> None:
    first, *_ = generations = crashed_together(alice, generate)
    assert {(generation.status, generation.attempts, generation.run_alone) for generation in generations} == {
        (Status.QUEUED, 0, True)
    }
    assert start_next() == first
    crash()
    first.refresh_from_db()
    assert (first.status, first.attempts) == (Status.QUEUED, 1)


def test_it_starts_only_in_an_idle_process_and_nothing_joins_it(alice: User, bob: User, generate: Generate) -> None:
    first, second = crashed_together(alice, generate, 2)
    generate(bob, run=False)
    assert start_all() == [first]
    finish(first)
    assert start_all() == [second]
    finish(second)
    assert len(start_all()) == 1


def test_a_process_with_running_work_starts_nothing_until_it_is_idle(alice: User, generate: Generate) -> None:
    running = generate(alice, run=False)
    assert start_next() == running
    waiting, _ = [generate(alice, run=False) for _ in range(2)]
    Generation.objects.filter(pk=waiting.pk).update(run_alone=True)
    assert start_next() is None
    finish(running)
    assert start_next() == waiting


def test_another_process_runs_others_meanwhile(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = crashed_together(alice, generate, 2)
    other = generate(alice, run=False)
    assert start_all() == [first]
    monkeypatch.setattr("inpainting.models.queued_work.WORKER", "another process")
    assert start_all() == [second]
    finish(second)
    assert start_all() == [other]


def test_one_that_must_run_alone_waits_for_the_other_queues_of_its_process(
    alice: User, generate: Generate, on_gpu: None
) -> None:
    painting = generate(alice, run=False)
    assert start_next() == painting
    waiting, next_painting = generate(alice, run=False), generate(alice, run=False)
    Generation.objects.filter(pk=waiting.pk).update(run_alone=True, engine="erase", queue=Queue.GPU)
    assert start_next(Queue.GPU) is None
    assert start_next() is None  # else the CPU queue might never be idle
    finish(painting)
    assert start_next(Queue.GPU) == waiting
    assert start_next() is None
    finish(waiting)
    assert start_next() == next_painting


def test_a_queue_that_the_process_does_not_serve_holds_up_nothing(
    alice: User, generate: Generate, on_gpu: None
) -> None:
    waiting, painting = generate(alice, run=False), generate(alice, run=False)
    Generation.objects.filter(pk=waiting.pk).update(run_alone=True, engine="erase", queue=Queue.GPU)
    assert start_next() == painting


@pytest.mark.usefixtures("without_pauses")
def test_the_culprit_fails_after_its_attempts_and_the_others_run_in_between(alice: User, generate: Generate) -> None:
    culprit, *innocent = crashed_together(alice, generate)
    starts = []
    while (generation := start_next()) is not None:
        starts.append(generation)
        if generation == culprit:
            crash()
        else:
            finish(generation)
    assert starts == [culprit, *innocent, culprit, culprit]
    culprit.refresh_from_db()
    assert (culprit.status, culprit.error_code, culprit.attempts) == (Status.FAILED, "job_crashed_worker", 3)


def test_a_crash_seen_at_different_times_is_one_crash(alice: User, generate: Generate) -> None:
    """The leases of one dead process expire one after the other."""
    first, second = [generate(alice, run=False) for _ in range(2)]
    start_all()
    for generation in (first, second):
        generation.refresh_from_db()
        generation.requeue()
        assert generation.attempts == 0


def test_a_cancelled_one_ends_after_a_crash_beside_others(alice: User, generate: Generate) -> None:
    cancelled, _ = [generate(alice, run=False) for _ in range(2)]
    start_all()
    cancelled.refresh_from_db()
    cancelled.cancel()
    crash()
    cancelled.refresh_from_db()
    assert cancelled.status == Status.CANCELLED


def test_a_release_does_not_count_and_it_still_runs_alone(alice: User, generate: Generate) -> None:
    first, _ = crashed_together(alice, generate, 2)
    for _ in range(4):
        assert start_next() == first
        poller.release_own()
        watchdog.draining.clear()
    first.refresh_from_db()
    assert (first.attempts, first.run_alone) == (0, True)


def test_the_poller_starts_all_idle_workers(alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many workers as before start again after the last one that had to run alone."""
    started: list[str] = []
    monkeypatch.setattr(own_threads, "start", lambda name, work, at_most: started.append(name))
    monkeypatch.setattr("inpainting.worker.run.worker_count", lambda queue: 4)
    for _ in range(3):
        generate(alice, run=False)
    poller.poll()
    assert started == [Queue.CPU] * 3


def test_a_crash_before_the_first_step_of_a_model_is_no_attempt(alice: User, generate: Generate) -> None:
    crashed = crash_alone(with_model(generate(alice, run=False)), 1)
    assert (crashed.status, crashed.attempts, crashed.crashes, crashed.run_alone) == (Status.QUEUED, 0, 1, True)


def test_a_crash_after_a_step_is_an_attempt(alice: User, generate: Generate) -> None:
    crashed = crash_alone(with_model(generate(alice, run=False)), 1, step=1)
    assert (crashed.status, crashed.attempts, crashed.crashes) == (Status.QUEUED, 1, 1)


def test_a_crash_while_a_network_was_loading_is_no_attempt(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one than that of the generation, which has taken a step: the model that is loaded at the start."""
    monkeypatch.setattr(interrupted_loads, "count_crashes", set)
    crashed = crash_alone(with_model(generate(alice, run=False)), 1, step=1)
    assert (crashed.status, crashed.attempts, crashed.crashes) == (Status.QUEUED, 0, 1)


def test_a_process_that_was_killed_blames_nothing(alice: User, generate: Generate) -> None:
    """By an operator, or with its parent and the machine."""
    generation = generate(alice, run=False)
    for _ in range(5):
        assert start_next() == generation
        poller.return_lost_work([], is_alone=True)
    generation.refresh_from_db()
    kept = (generation.status, generation.attempts, generation.crashes, generation.run_alone)
    assert kept == (Status.QUEUED, 0, 0, False)


def test_of_several_processes_only_the_crashed_one_is_requeued(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed, elsewhere = generate(alice, run=False), generate(alice, run=False)
    assert start_next() == crashed
    monkeypatch.setattr(queued_work, "WORKER", "another process")
    assert start_next() == elsewhere
    poller.return_lost_work([os.getpid()], is_alone=False)
    for generation, status in ((crashed, Status.QUEUED), (elsewhere, Status.RUNNING)):
        generation.refresh_from_db()
        assert generation.status == status


@pytest.mark.usefixtures("without_pauses")
def test_one_that_crashes_each_process_before_its_first_step_fails_at_last(alice: User, generate: Generate) -> None:
    crashed = crash_alone(with_model(generate(alice, run=False)), MAX_CRASHES)
    assert (crashed.status, crashed.error_code) == (Status.FAILED, "job_crashed_worker")
    assert crashed.error_message == f"The server crashed {MAX_CRASHES} times while painting this image."


def test_the_pause_grows_with_each_crash_and_has_a_bound() -> None:
    assert [pause_after(crashes) for crashes in (1, 2, 3, 4)] == [0, 2, 4, 8]
    assert pause_after(MAX_CRASHES * 3) == MAX_PAUSE_SECONDS


def test_others_start_while_one_waits_after_crashes(alice: User, bob: User, generate: Generate) -> None:
    crashed = crash_alone(with_model(generate(alice, run=False)), 2)
    assert crashed.lease_until is not None
    assert crashed.lease_until > timezone.now()
    other = generate(bob, run=False)
    assert start_all() == [other]
    finish(other)
    Generation.objects.filter(pk=crashed.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert start_next() == crashed
