"""Periodic work runs in one process, however many there are."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from inpainting.generations import retention, undoable_delete
from inpainting.models import PeriodicJob
from tests.support import postgres
from tests.support.installation import ROOT, Installation

JOBS = 30
CLAIM = f"""
import django, sys
django.setup()
from inpainting.generations import retention
from inpainting.models import PeriodicJob
from inpainting.worker import own_threads
retention.sweep = lambda now: print("sweep") or True
print("ready", flush=True)
sys.stdin.readline()
for number in range({JOBS}):
    if PeriodicJob.claim(f"job {{number}}", seconds=3600):
        print(number)
retention.sweep_if_due()
own_threads.wait_until_idle(seconds=60)
"""


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def test_of_two_processes_each_job_is_done_by_one(tmp_path: Path, database: str) -> None:
    url = ""
    if database == "postgresql":
        if postgres.binaries() is None:
            pytest.skip("PostgreSQL is not installed")
        url = postgres.start()
    installation = Installation(
        tmp_path, DREAMLAYER_DATABASE_URL=url, DJANGO_SETTINGS_MODULE="dreamlayer_site.settings"
    )
    if url:
        installation.manage("migrate", "--verbosity", "0")
    else:
        installation.migrate()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM], env=installation.environment, cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    done = Counter(line for process in processes for line in process.communicate(timeout=120)[0].split())
    assert done == Counter([*map(str, range(JOBS)), "sweep"])


def test_it_is_due_again_after_its_time_when_it_is_released_and_when_the_clock_was_set_back(db: None) -> None:
    assert PeriodicJob.claim("job", seconds=60)
    assert not PeriodicJob.claim("job", seconds=60)
    assert PeriodicJob.claim("another job", seconds=60)
    for passed in (timedelta(seconds=61), timedelta(hours=-1)):
        PeriodicJob.objects.update(due_at=F("due_at") - passed)
        assert PeriodicJob.claim("job", seconds=60)
        assert not PeriodicJob.claim("job", seconds=60)
    PeriodicJob.release("job")
    assert PeriodicJob.claim("job", seconds=60)


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_an_unfinished_sweep_goes_on_at_the_next_call(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = [False, True]
    monkeypatch.setattr(retention, "sweep", lambda now: finished.pop(0))
    for _ in range(3):
        retention.sweep_if_due()
    assert finished == []
    assert PeriodicJob.objects.filter(name=retention.SWEEP, due_at__gt=timezone.now() + timedelta(minutes=50)).exists()


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_one_process_deletes_what_was_deleted_in_the_history(
    alice: User, monkeypatch: pytest.MonkeyPatch, generate: object
) -> None:
    generation = generate(alice)  # type: ignore[operator]
    undoable_delete.hide(alice, [generation.pk])
    type(generation).objects.update(deleted_at=F("deleted_at") - timedelta(minutes=1))
    assert PeriodicJob.claim(undoable_delete.PURGE, seconds=60)  # as another process does
    undoable_delete.purge_if_due()
    assert type(generation).objects.exists()
    PeriodicJob.release(undoable_delete.PURGE)
    undoable_delete.purge_if_due()
    assert not type(generation).objects.exists()
