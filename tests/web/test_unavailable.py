"""Pages while the database is locked, away or full, as the APIs: 503 or 507, in one line of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django import db
from django.core.cache import cache
from django.db import InterfaceError, InternalError, OperationalError, connection
from django.test import AsyncClient, Client

from accounts.models import ApiKey, User
from inpainting.api.errors import temporary_error
from inpainting.web import account_page
from tests.support.locked_database import locked, shorten_lock_timeouts

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "a rather long one 42"
PEP_249 = {"DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError"}
SIGN_UP = {"email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture(autouse=True)
def _no_earlier_requests() -> None:
    """The rate limits count in the cache."""
    cache.clear()


@pytest.fixture
def browser() -> Client:
    """A visitor's browser."""
    return Client(raise_request_exception=False)


@pytest.fixture
def administrators(browser: Client) -> Client:
    """The browser of an administrator."""
    browser.force_login(User.objects.create_superuser("boss@example.com", PASSWORD))
    return browser


@pytest.fixture
def database_is_locked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite is the database that one writer locks for all")
    for fixture in ("administrators", "alices_key"):  # the rows that the test needs are written before
        if fixture in request.fixturenames:
            request.getfixturevalue(fixture)
    shorten_lock_timeouts(monkeypatch)
    with locked(str(connection.settings_dict["NAME"])):
        yield


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.usefixtures("database_is_locked")
def test_a_locked_database_is_a_page_with_503_and_one_line_of_the_log(
    browser: Client, caplog: pytest.LogCaptureFixture
) -> None:
    page = browser.post("/accounts/signup/", SIGN_UP)
    assert (page.status_code, page["Retry-After"]) == (503, "5")
    assert "temporarily overloaded" in page.content.decode()
    assert "css/dreamlayer.css" in page.content.decode()
    assert errors_in(caplog) == ["The database does not answer: database is locked"]
    assert all(record.exc_info is None for record in caplog.records if record.levelno >= logging.ERROR)


@pytest.mark.usefixtures("database_is_locked")
def test_changes_in_the_admin_are_refused_and_its_pages_are_shown(administrators: Client) -> None:
    for path in ("/admin/", "/admin/accounts/user/", "/admin/accounts/apikey/"):
        assert administrators.get(path).status_code == 200, path
    sent = {"email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert administrators.post("/admin/accounts/user/add/", sent).status_code == 503


@pytest.mark.usefixtures("database_is_locked")
@pytest.mark.parametrize("path", ["/", "/history/", "/account/", "/storage/"])
def test_pages_that_only_read_are_shown_while_the_database_is_locked(administrators: Client, path: str) -> None:
    assert administrators.get(path).status_code == 200


@pytest.mark.usefixtures("database_is_locked")
def test_a_key_reads_while_the_database_is_locked(alices_program: Client, alices_key: str) -> None:
    assert alices_program.get("/api/generations/").status_code == 200
    key = ApiKey.find(alices_key)
    assert key is not None
    assert key.last_used_at is None  # and the next request writes it


def test_the_use_of_a_key_is_written_once_the_database_is_free(alices_program: Client, alices_key: str) -> None:
    assert alices_program.get("/api/generations/").status_code == 200
    key = ApiKey.find(alices_key)
    assert key is not None
    assert key.last_used_at is not None


def test_the_last_activity_of_a_session_is_tried_again(administrators: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite is the database that one writer locks for all")
    shorten_lock_timeouts(monkeypatch)
    with locked(str(connection.settings_dict["NAME"])):
        administrators.get("/account/")
    assert administrators.get("/account/").context["signs_in"].sessions == 1


async def test_an_error_outside_of_views_is_translated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Middleware reads the session, before any view; here through the event loop, as the server does."""

    def away(*_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("accounts.middleware.SessionActivityMiddleware.process_request", away)
    client = AsyncClient(raise_request_exception=False)
    page = await client.get("/history/")
    assert (page.status_code, page["Retry-After"]) == (503, "5")
    answer = await client.get("/api/generations/")
    assert (answer.status_code, answer.json()["code"]) == (503, "try_again")


@pytest.mark.parametrize(
    ("error", "status"),
    [(InterfaceError("connection closed"), 503), (OSError(28, "No space left on device"), 507), (KeyError("x"), 500)],
)
def test_pages_and_apis_have_one_rule(
    administrators: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(account_page, "overview", fails)
    page = administrators.get("/account/")
    assert page.status_code == status
    translated = temporary_error(error)
    assert (translated.status if translated else 500) == status


def test_a_statement_that_cannot_be_run_is_an_error_of_the_program() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("other databases have an exception class of their own for it")
    with pytest.raises(OperationalError) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    assert temporary_error(raised.value) is None


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        *[(sqlstate, 503) for sqlstate in ("25006", "57P01", "57P02", "57P03", "40001", "40P01", "53300", "55P03")],
        *[(sqlstate, 503) for sqlstate in ("08000", "08001", "08003", "08004", "08006")],
        ("53100", 507),  # the disk is full
        *[(sqlstate, None) for sqlstate in ("42P01", "23505", "22001", "XX001", "54000")],
    ],
)
def test_an_outage_of_postgresql_is_told_from_a_fault_of_the_program(sqlstate: str, status: int | None) -> None:
    """https://www.postgresql.org/docs/current/errcodes-appendix.html"""
    raised = psycopg.errors.lookup(sqlstate)("refused")
    # As of Django, which translates each class of PEP 249 into its own.
    (name,) = {parent.__name__ for parent in type(raised).__mro__} & PEP_249
    error = getattr(db, name)("refused")
    error.__cause__ = raised
    translated = temporary_error(error)
    assert (translated and translated.status) == status
    assert not translated or status != 503 or translated.headers["Retry-After"] == "5"
    assert temporary_error(InternalError("another")) is None


# Searches of any length

WORDS = "+".join(f"word{number}" for number in range(1500))


@pytest.mark.parametrize(
    "table", ["accounts/user", "accounts/apikey", "accounts/auditentry", "usersessions/usersession"]
)
def test_a_search_of_any_length_is_answered(administrators: Client, table: str) -> None:
    page = administrators.get(f"/admin/{table}/?q={WORDS}")
    assert page.status_code == 200
    assert "A search may have at most 300 characters" in page.content.decode()
    assert "boss@example.com" in administrators.get("/admin/accounts/user/?q=boss").content.decode()


def test_the_choice_of_a_related_row_searches_as_little(administrators: Client) -> None:
    query = f"app_label=accounts&model_name=apikey&field_name=owner&term={WORDS}"
    answer = administrators.get(f"/admin/autocomplete/?{query}")
    assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_a_long_search_in_the_history_and_the_review_has_a_message(administrators: Client, generate: Any) -> None:
    generate(User.objects.get())
    for path in (f"/history/?text={WORDS}", f"/admin/inpainting/generation/?q={WORDS}"):
        page = administrators.get(path)
        assert page.status_code == 200
        assert "at most 300 characters" in page.content.decode()
