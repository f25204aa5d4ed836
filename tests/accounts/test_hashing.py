"""Password hashes: OWASP's parameters, old hashes, a bounded number at a time; limits of sign-ins."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts import hashers
from accounts.hashers import HashingBusy, HashingThreads
from accounts.models import User

PASSWORD = "a rather long one 42"
LIMITED = ["accounts.hashers.LimitedArgon2PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]


@pytest.fixture(autouse=True)
def _no_earlier_sign_ins() -> None:
    """The rate limits count in the cache."""
    cache.clear()


@pytest.fixture
def limited(settings: Settings) -> None:
    """The hashers of the site; the tests use a faster one."""
    settings.PASSWORD_HASHERS = LIMITED


@pytest.mark.usefixtures("limited")
def test_hashes_have_the_parameters_of_owasp(db: None) -> None:
    assert make_password(PASSWORD).startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("old", ["argon2", "pbkdf2_sha256"])
def test_an_old_hash_is_verified_and_replaced(client: Client, alice: User, old: str) -> None:
    hashed = Argon2PasswordHasher().encode(PASSWORD, "0123456789abcdef") if old == "argon2" else ""
    User.objects.filter(pk=alice.pk).update(password=hashed or make_password(PASSWORD, hasher=old))
    answer = client.post("/accounts/login/", {"login": alice.email, "password": PASSWORD})
    assert answer.status_code == 302
    alice.refresh_from_db()
    assert "m=19456,t=2,p=1" in alice.password
    assert alice.check_password(PASSWORD)


def test_more_than_may_wait_are_refused() -> None:
    hashing, running, end = HashingThreads(2, max_waiting=0), threading.Semaphore(0), threading.Event()

    def work() -> bool:
        running.release()
        return end.wait(30)

    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(hashing.run, work) for _ in range(2)]
        for _ in accepted:
            assert running.acquire(timeout=30)
        with pytest.raises(HashingBusy):
            hashing.run(work)
        end.set()
        assert all(thread.result(timeout=30) for thread in accepted)
    assert hashing.run(work)


def test_those_that_wait_have_their_turn() -> None:
    hashing, alone = HashingThreads(1, max_waiting=3), threading.Lock()

    def work(number: int) -> int:
        assert alone.acquire(blocking=False)
        time.sleep(0.01)
        alone.release()
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: hashing.run(work, number), range(4))) == [0, 1, 2, 3]


def test_an_error_frees_its_place() -> None:
    hashing = HashingThreads(1, max_waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            hashing.run(divmod, 1, 0)


@pytest.mark.usefixtures("limited")
def test_a_password_that_cannot_be_checked_now_is_no_failed_sign_in(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(raise_request_exception=False)
    alice.set_password(PASSWORD)
    alice.save()
    form = {"login": alice.email, "password": PASSWORD}
    with monkeypatch.context() as busy:
        busy.setattr(hashers, "threads", HashingThreads(1, max_waiting=-1))
        for _ in range(6):
            answer = client.post("/accounts/login/", form)
            assert (answer.status_code, answer["Retry-After"]) == (503, "5")
            assert "checking as many passwords as it can" in answer.content.decode()
    assert client.post("/accounts/login/", form).status_code == 302


def test_others_cannot_lock_an_account(client: Client, alice: User) -> None:
    for _ in range(7):
        answer = client.post("/accounts/login/", {"login": alice.email, "password": "guess"}, REMOTE_ADDR="192.0.2.1")
    assert "Too many failed login attempts" in answer.content.decode()
    answer = client.post("/accounts/login/", {"login": alice.email, "password": "correct horse"})
    assert answer.status_code == 302


def test_a_rate_limit_has_a_page_that_says_when_to_try_again(client: Client, db: None) -> None:
    for _ in range(31):
        answer = client.post("/accounts/login/", {"login": "nobody@example.com", "password": "guess"})
    assert (answer.status_code, answer["Retry-After"]) == (429, "60")
    assert "css/dreamlayer.css" in answer.content.decode()
