"""The list of sessions: who is signed in where, and signing the others out."""

from __future__ import annotations

import pytest
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.test import Client

from accounts.middleware import ACTIVITY_SECONDS
from accounts.models import User
from accounts.socket_revocation import session_group
from accounts.templatetags.browser_name import browser_name

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36 Edg/141"


def signed_in(user: User, agent: str = FIREFOX) -> Client:
    cache.clear()
    client = Client(headers={"User-Agent": agent})
    client.post("/accounts/login/", {"login": user.email, "password": "correct horse"})
    return client


def test_signing_the_others_out_ends_their_sessions_and_closes_their_sockets(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr("accounts.sessions.close_sockets", closed.append)
    here, there = signed_in(alice), signed_in(alice, EDGE)
    bobs = Client()
    bobs.force_login(bob)
    page = here.get("/accounts/sessions/").content.decode()
    assert "Firefox on Linux" in page
    assert "Edge on Windows" in page
    group = session_group(there.session.session_key or "")
    here.post("/accounts/sessions/")
    assert closed == [group]
    assert here.get("/account/").status_code == bobs.get("/account/").status_code == 200
    assert "/login/" in there.get("/account/")["Location"]
    assert "Edge on Windows" not in here.get("/accounts/sessions/").content.decode()


def test_one_other_session_is_ended_by_its_user_alone(alice: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr("accounts.sessions.close_sockets", closed.append)
    here, lost, phone = signed_in(alice), signed_in(alice, EDGE), signed_in(alice)
    bobs = Client()
    bobs.force_login(bob)
    paths = {row.session_key: f"/accounts/sessions/{row.pk}/end/" for row in UserSession.objects.filter(user=alice)}
    own, path = (paths[browser.session.session_key or ""] for browser in (here, lost))
    page = here.get("/accounts/sessions/").content.decode()
    assert path in page
    assert own not in page
    assert bobs.post(path).status_code == here.post(own).status_code == 404
    assert here.get(path).status_code == 405
    group = session_group(lost.session.session_key or "")
    assert here.post(path)["Location"] == "/accounts/sessions/"
    assert closed == [group]
    assert "/login/" in lost.get("/account/")["Location"]
    assert here.get("/account/").status_code == phone.get("/account/").status_code == 200


def test_a_session_from_before_the_list_existed_appears_when_it_is_used(client: Client, alice: User) -> None:
    client.force_login(alice)
    UserSession.objects.all().delete()
    client.get("/account/")
    assert UserSession.objects.get().session_key == client.session.session_key


def test_the_time_is_written_at_most_every_five_minutes(
    client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("accounts.middleware.time.time", lambda: now)
    client.force_login(alice)
    client.get("/account/")
    first = UserSession.objects.get().last_seen_at
    now += ACTIVITY_SECONDS - 1
    client.get("/account/")
    assert UserSession.objects.get().last_seen_at == first
    now += 1
    client.get("/account/")
    assert UserSession.objects.get().last_seen_at > first


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (EDGE, "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "Unknown"),
    ],
)
def test_browsers_are_named_in_plain_words(agent: str, name: str) -> None:
    assert browser_name(agent) == name
