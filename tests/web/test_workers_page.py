"""The administrators' page of workers, and the command that drains one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry, User
from inpainting.models import Generation, Status, Worker

PAGE = "/admin/workers/"


@pytest.fixture
def administrator(client: Client, db: None) -> User:
    boss = User.objects.create_superuser("boss@example.com", "a rather long one 42")
    client.force_login(boss)
    return boss


def worker(name: str = "gpu-host-1:42:ab", **columns: Any) -> Worker:
    now = timezone.now()
    return Worker.objects.create(name=name, parent=name, **{"started_at": now, "seen_at": now, **columns})


def content(client: Client) -> str:
    answer = client.get(PAGE)
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_lists_what_each_worker_serves_has_lacks_and_runs(
    client: Client, administrator: User, alice: User, generate: Callable[..., Generation]
) -> None:
    assert "No worker runs" in content(client)
    first = worker(queues=["cpu", "gpu"], cpu_slots=2, gpu_slots=16, device="cuda:1", memory_bytes=24 * 2**30)
    Worker.objects.filter(pk=first.pk).update(loadable=["sd15"], lacking={"sdxl": "<b>its header is cut off</b>"})
    running = generate(alice, run=False)
    Generation.objects.filter(pk=running.pk).update(status=Status.RUNNING, worker=first.name)
    page = content(client)
    for shown in (first.name, "Ready", "cuda:1", "24.0\xa0GB", "sd15", "sdxl", "&lt;b&gt;its header", "1 missing"):
        assert shown in page
    (row,) = client.get(PAGE).context["rows"]
    assert (row["running"], row["queues"]) == (1, [("cpu", 2), ("gpu", 16)])


@pytest.mark.parametrize(
    ("columns", "state", "has_button"),
    [
        ({}, "ready", True),
        ({"is_drained": True}, "drained", True),
        ({"problem": "storage cannot be written"}, "not ready", True),
        ({"stopped_at": "2026-01-01T00:00:00Z"}, "stopped", False),
    ],
)
def test_each_state_has_its_words(
    client: Client, administrator: User, columns: dict[str, Any], state: str, has_button: bool
) -> None:
    worker(**columns)
    page = content(client)
    assert state.capitalize() in page
    assert columns.get("problem", "") in page
    assert (f"/admin/workers/{Worker.objects.get().pk}/" in page) == has_button


def test_one_that_is_silent_does_not_answer(client: Client, administrator: User, settings: Any) -> None:
    settings.IS_ALONE = False
    worker(seen_at=timezone.now() - timedelta(minutes=4))
    worker("long gone", seen_at=timezone.now() - timedelta(minutes=6))
    page = content(client)
    assert "Not answering" in page
    assert "long gone" not in page


def test_the_buttons_drain_and_resume_and_are_recorded(client: Client, administrator: User) -> None:
    row = worker()
    for action, is_drained in (("drain", True), ("drain", True), ("resume", False), ("resume", False)):
        answer = client.post(f"{PAGE}{row.pk}/{action}/", follow=True)
        assert answer.redirect_chain == [(PAGE, 302)]
        row.refresh_from_db()
        assert row.is_drained == is_drained
    resumed, drained = AuditEntry.objects.filter(actor=administrator, note=row.name)
    assert drained.changes == [("is_drained", False, True)]
    assert resumed.changes == [("is_drained", True, False)]
    assert client.get(f"{PAGE}{row.pk}/drain/").status_code == 405


def test_many_workers_are_shown_page_by_page_by_as_many_queries(client: Client, administrator: User) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            content(client)
        return len(queries)

    worker()
    content(client)
    few = count()
    for number in range(30):
        worker(f"w{number:02}")
    assert count() == few
    assert "w29" in client.get(f"{PAGE}?page=2").content.decode()


def test_staff_need_the_permission_and_others_find_no_page(client: Client, alice: User) -> None:
    row = worker()
    client.force_login(alice)
    assert client.get(PAGE).status_code == 404
    staff = User.objects.create_user("staff@example.com", is_staff=True)
    client.force_login(staff)
    assert client.get(PAGE).status_code == 404
    assert client.post(f"{PAGE}{row.pk}/drain/").status_code == 404
    staff.user_permissions.add(Permission.objects.get(codename="view_worker"))
    assert "Drain" not in content(client)
    assert client.post(f"{PAGE}{row.pk}/drain/").status_code == 404
    assert not Worker.objects.get().is_drained


def drain(*arguments: str) -> str:
    out = StringIO()
    call_command("drain", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_drains_resumes_and_lists() -> None:
    first, second = worker("gpu-1:42:ab", queues=["gpu"]), worker("gpu-10:7:cd", queues=["gpu"])
    assert "gpu-1:42:ab  gpu  ready" in drain()
    assert drain("gpu-1:42:ab") == "gpu-1:42:ab claims no more work.\n"
    assert drain("gpu-1:") == "gpu-1:42:ab already claims no more work.\n"
    assert "gpu-1:42:ab  gpu  drained" in drain()
    assert AuditEntry.objects.get().actor_name == "nobody signed in"
    assert drain("gpu-1:", "--resume") == "gpu-1:42:ab claims work again.\n"
    assert not Worker.objects.filter(pk__in=[first.pk, second.pk], is_drained=True).exists()


@pytest.mark.django_db
def test_the_command_drains_all_workers_of_a_host() -> None:
    for name, device in (("gpu-1:42:ab", "cuda:0"), ("gpu-1:43:cd", "cuda:1"), ("gpu-10:7:ef", "cuda:0")):
        worker(name, queues=["gpu"], device=device)
    drain("gpu-1:43")
    done = "gpu-1:42:ab claims no more work.\ngpu-1:43:cd already claims no more work.\n"
    assert drain("gpu-1", "--all") == done
    assert "gpu-1:43:cd  gpu  cuda:1  drained" in drain()
    assert Worker.objects.get(is_drained=False).name == "gpu-10:7:ef"
    drain("gpu-1", "--all", "--resume")
    assert not Worker.objects.filter(is_drained=True).exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpu"], "Several live workers have a name that begins so: gpu-10:7:cd, gpu-1:42:ab."),
        (["cpu"], "No live worker has that name; there are: gpu-10:7:cd, gpu-1:42:ab."),
        (["gone"], "No live worker has that name; there are: gpu-10:7:cd, gpu-1:42:ab."),
        (["--resume"], "Name the worker that is to be resumed."),
        (["--all"], "Name the host whose workers are meant."),
        (["gpu-", "--all"], "No live worker runs on that host; there are workers on: gpu-1, gpu-10."),
    ],
)
def test_the_command_refuses_what_is_not_one_live_worker(arguments: list[str], message: str) -> None:
    worker("gpu-1:42:ab")
    worker("gpu-10:7:cd")
    worker("gone:1:ef", stopped_at=timezone.now())
    with pytest.raises(CommandError, match=f"^{message}$"):
        drain(*arguments)
