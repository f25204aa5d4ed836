"""DREAMLAYER_ANONYMOUS_API: requests without a key from this machine act as the local user, all others are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import LOCAL_EMAIL, ApiKey, User
from dreamlayer_site.checks import allowed_hosts_has_no_wildcard, anonymous_api_needs_loopback
from inpainting.models import Generation

Generate = Callable[..., Generation]
pytestmark = pytest.mark.django_db
OWN = "http://testserver"
FOREIGN = "http://elsewhere.example"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it


@pytest.fixture
def anonymous(settings: Settings) -> Client:
    """A client without a key on this machine, with the setting enabled."""
    settings.ANONYMOUS_API = "on"
    return Client()


def code_of(client: Client, **headers: str) -> tuple[int, str]:
    answer = client.post("/api/img2img", headers={name.replace("_", "-"): value for name, value in headers.items()})
    return answer.status_code, answer.json()["code"]


LET_IN = (400, "field_missing")  # nothing was sent
OUTSIDE = (401, "key_missing")


def test_without_the_setting_a_key_is_required(client: Client) -> None:
    assert code_of(client) == OUTSIDE
    assert not User.objects.exists()


def test_a_request_without_key_acts_as_the_local_user(anonymous: Client, generate: Generate, alice: User) -> None:
    assert code_of(anonymous) == LET_IN
    local = User.objects.get(email=LOCAL_EMAIL)
    assert not local.has_usable_password()
    assert not local.is_staff
    assert anonymous.get(f"/api/generations/{generate(local).pk}/").status_code == 200
    assert anonymous.get(f"/api/generations/{generate(alice).pk}/").status_code == 404
    assert User.objects.filter(email=LOCAL_EMAIL).count() == 1


@pytest.mark.parametrize("text", ["", "dl_live_nonsense", "Bearer"])
def test_a_wrong_key_is_still_refused(anonymous: Client, text: str) -> None:
    assert code_of(anonymous, x_api_key=text) == (401, "key_invalid")


def test_a_revoked_key_does_not_become_the_local_user(anonymous: Client, alice: User) -> None:
    key, text = ApiKey.issue(alice)
    key.revoke()
    assert code_of(anonymous, x_api_key=text) == (401, "key_revoked")


def test_keys_and_sessions_keep_their_users(anonymous: Client, alice: User, alices_key: str) -> None:
    assert code_of(anonymous, x_api_key=alices_key) == LET_IN
    anonymous.force_login(alice)
    assert code_of(anonymous) == LET_IN
    assert not User.objects.filter(email=LOCAL_EMAIL).exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": FOREIGN},
        {"origin": "null"},
        {"origin": "http://testserver:3000"},
        {"origin": "https://testserver"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": OWN, "sec_fetch_site": "same-site"},
    ],
)
def test_a_page_of_another_origin_is_refused(anonymous: Client, headers: dict[str, str]) -> None:
    assert code_of(anonymous, **headers) == (403, "csrf")


@pytest.mark.parametrize(
    "headers", [{"origin": OWN}, {"origin": OWN, "sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}]
)
def test_own_pages_and_direct_requests_are_accepted(anonymous: Client, headers: dict[str, str]) -> None:
    assert code_of(anonymous, **headers) == LET_IN


def test_a_page_of_an_allowed_origin_is_accepted(anonymous: Client, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [FOREIGN]
    assert code_of(anonymous, origin=FOREIGN, sec_fetch_site="cross-site") == LET_IN


@pytest.mark.parametrize("address", ["192.168.1.7", "::ffff:10.0.0.1", "", "2001:db8::1"])
def test_other_machines_are_refused_unless_forced(anonymous: Client, settings: Settings, address: str) -> None:
    anonymous.defaults["REMOTE_ADDR"] = address
    assert code_of(anonymous) == OUTSIDE
    settings.ANONYMOUS_API = "force"
    assert code_of(anonymous) == LET_IN


def test_a_local_user_with_a_password_is_not_used(anonymous: Client) -> None:
    local = User.objects.create_user(LOCAL_EMAIL, "a password")
    assert code_of(anonymous) == OUTSIDE
    local.set_unusable_password()
    local.is_active = False
    local.save()
    assert code_of(anonymous) == OUTSIDE


def test_the_local_users_address_cannot_be_registered(client: Client) -> None:
    form = {"email": "Local@localhost", "password1": "a rather long one 42", "password2": "a rather long one 42"}
    assert client.post("/accounts/signup/", form).status_code == 200
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("anonymous_api", "bind_host", "behind_tls", "refused"),
    [
        ("", EVERYWHERE, True, False),
        ("on", "127.0.0.1", False, False),
        ("on", "localhost", False, False),
        ("on", "::1", False, False),
        ("on", EVERYWHERE, False, True),
        ("on", "", False, True),
        ("on", "192.168.1.7", False, True),
        ("on", "dreamlayer.example.org", False, True),
        ("on", "127.0.0.1", True, True),
        ("force", EVERYWHERE, True, False),
    ],
)
def test_it_is_refused_if_other_machines_can_reach_the_server(
    settings: Settings, anonymous_api: str, bind_host: str, behind_tls: bool, refused: bool
) -> None:
    settings.ANONYMOUS_API, settings.BIND_HOST, settings.BEHIND_TLS = anonymous_api, bind_host, behind_tls
    errors = anonymous_api_needs_loopback(None)
    assert [error.id for error in errors] == (["dreamlayer.E001"] if refused else [])


def test_a_wildcard_host_is_refused(settings: Settings) -> None:
    assert allowed_hosts_has_no_wildcard(None) == []
    settings.ALLOWED_HOSTS = ["localhost", "*"]
    assert [error.id for error in allowed_hosts_has_no_wildcard(None)] == ["dreamlayer.E002"]
