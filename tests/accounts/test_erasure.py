"""Nothing of a deleted account remains: not in the admin's history, not in any table, not in SQLite's files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts import erasure
from accounts.erasure import truncate_write_ahead_log
from accounts.models import ApiKey, User
from inpainting.generations.retention import sweep
from inpainting.models import Generation
from tests.accounts.codes import confirm

pytestmark = pytest.mark.django_db(transaction=True)
Generate = Callable[..., Generation]
WORD = "zebracrossing"
BROWSER = "Amaya/9.51"


@pytest.fixture
def administrators() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.com", "a long one"))
    return client


def change(administrators: Client, user: User) -> None:
    sent = {"email": user.email, "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert administrators.post(f"/admin/accounts/user/{user.pk}/change/", sent).status_code == 302


def delete_own_account(user: User) -> None:
    client = Client()
    client.force_login(user)
    assert confirm(client).post("/account/delete/", {"email": user.email})["Location"] == "/"


def delete_in_the_admin(administrators: Client, user: User) -> None:
    cache.clear()
    path = f"/admin/accounts/user/{user.pk}/delete/"
    assert administrators.post(path, {"post": "yes"})["Location"] == "/admin/accounts/user/"


def texts() -> str:
    """All values of all tables."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 - a name of ours
            found += [str(row) for row in cursor.fetchall()]
    return "\n".join(found)


def database_files() -> bytes:
    if connection.vendor != "sqlite":
        pytest.skip("other databases keep their files elsewhere")
    path = Path(connection.settings_dict["NAME"])
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.mark.parametrize("by_administrator", [False, True])
def test_no_table_names_a_deleted_account(
    administrators: Client, alice: User, generate: Generate, by_administrator: bool
) -> None:
    generate(alice, prompt=WORD)
    ApiKey.issue(alice, name=WORD)
    EmailAddress.objects.create(user=alice, email=f"{WORD}@example.com")
    session = UserSession.objects.create(user=alice, ip="192.0.2.77", user_agent=BROWSER, session_key="x" * 32)
    change(administrators, alice)
    assert (
        administrators.post(f"/admin/usersessions/usersession/{session.pk}/delete/", {"post": "yes"}).status_code == 302
    )
    address = EmailAddress.objects.get(email=f"{WORD}@example.com")
    administrators.post(f"/admin/account/emailaddress/{address.pk}/delete/", {"post": "yes"})
    traces = (alice.email, WORD, BROWSER, "192.0.2.77")
    before, pk = texts(), alice.pk
    assert all(trace in before for trace in traces)
    if by_administrator:
        delete_in_the_admin(administrators, alice)
    else:
        delete_own_account(alice)
    after = texts()
    assert [trace for trace in traces if trace in after] == []
    assert LogEntry.objects.filter(object_repr=f"deleted account {pk}").count() >= 3


def test_rows_about_others_stay(administrators: Client, alice: User, bob: User) -> None:
    change(administrators, alice)
    change(administrators, bob)
    delete_own_account(alice)
    assert LogEntry.objects.get(object_id=str(bob.pk)).object_repr == bob.email
    assert "bob@example.com" in administrators.get(f"/admin/accounts/user/{bob.pk}/history/").content.decode()


def test_the_files_of_sqlite_have_nothing_of_a_deleted_account(alice: User, generate: Generate) -> None:
    generate(alice, prompt=WORD)
    assert WORD.encode() in database_files()
    delete_own_account(alice)
    assert WORD.encode() not in database_files()


def test_the_periodic_job_empties_the_log_when_a_reader_has_gone(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "CHECKPOINT_SECONDS", 0.05)
    generate(alice, prompt=WORD)
    database_files()
    reader = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM accounts_user").fetchone()
    delete_own_account(alice)
    assert WORD.encode() in database_files()
    assert not truncate_write_ahead_log()
    reader.close()
    assert sweep(timezone.now() - timedelta(days=1))
    assert WORD.encode() not in database_files()


def test_a_checkpoint_within_a_transaction_is_put_off() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("this is how SQLite works")
    with transaction.atomic():
        User.objects.create_user("somebody@example.com")
        assert not truncate_write_ahead_log()
    assert truncate_write_ahead_log()
