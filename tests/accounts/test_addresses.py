"""One account for one mailbox, however its address is typed; addresses that look alike are no way around it."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from accounts.addresses import normal_address
from accounts.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "a rather long one 42"
LOOK_ALIKE = "alice@examp\u217ce.com"
"""With SMALL ROMAN NUMERAL FIFTY."""
UMLAUT, ENCODED = "uli@b\u00fccher.example", "uli@xn--bcher-kva.example"


@pytest.fixture(autouse=True)
def _no_earlier_requests() -> None:
    """The rate limits count in the cache."""
    cache.clear()


def sign_up(email: str) -> str:
    page = Client().post(
        "/accounts/signup/", {"email": email, "password1": PASSWORD, "password2": PASSWORD}, follow=True
    )
    assert page.status_code == 200
    return page.content.decode()


def signs_in(email: str, password: str) -> bool:
    cache.clear()
    client = Client()
    client.post("/accounts/login/", {"login": email, "password": password})
    return "_auth_user_id" in client.session


def stored_as_before(email: str) -> User:
    """An account of a version that stored addresses as they were typed."""
    user = User.objects.create_user("placeholder@example.com", PASSWORD)
    User.objects.filter(pk=user.pk).update(email=email)
    EmailAddress.objects.bulk_create([EmailAddress(user=user, email=email, primary=True, verified=True)])
    return user


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Alice@Example.COM", "alice@example.com"),
        (LOOK_ALIKE, "alice@example.com"),
        ("alice@EXAMP\u216cE.com", "alice@example.com"),
        ("alice@\uff45xample.com", "alice@example.com"),
        ("alice@ex\u00adample.com", "alice@example.com"),
        ("\u212aim@example.com", "kim@example.com"),
        ("mi\u017fs@example.com", "miss@example.com"),
        (UMLAUT, ENCODED),
        ("uli@BU\u0308CHER.example", ENCODED),
        ("local@localhost", "local@localhost"),
        ("alice@[127.0.0.1]", "alice@[127.0.0.1]"),
    ],
)
def test_an_address_has_one_form(typed: str, stored: str) -> None:
    assert normal_address(typed) == stored
    assert normal_address(stored) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "al\u0131ce@example.com",  # without a dot
        "\u00fcli@example.com",
        "\u0430lice@example.com",  # Cyrillic
        "alice@stra\u00dfe.example",  # IDNA 2003 reads strasse.example
        "alice@\u200dexample.com",
        "alice@\u2603\u2603.example",
        "alice@" + 80 * "\u00fc" + ".example",
    ],
)
def test_what_may_be_another_mailbox_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        normal_address(typed)


@pytest.mark.parametrize("verification", ["none", "mandatory"])
def test_a_look_alike_is_no_second_account(alice: User, settings: Settings, verification: str) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = verification
    sign_up(LOOK_ALIKE)
    assert User.objects.get() == alice
    assert alice.check_password("correct horse")


def test_an_account_has_the_normal_form_and_is_found_by_each(settings: Settings) -> None:
    sign_up(UMLAUT)
    assert User.objects.get().email == EmailAddress.objects.get().email == ENCODED
    assert signs_in(UMLAUT, PASSWORD)
    assert signs_in(ENCODED, PASSWORD)


@pytest.mark.parametrize("email", ["al\u0131ce@example.com", "alice@stra\u00dfe.example"])
def test_a_refused_address_has_a_message(email: str) -> None:
    page = sign_up(email)
    assert "Only letters without accents" in page or "Write it as alice@xn--" in page or "Write it as xn--" in page
    assert not User.objects.exists()


@pytest.mark.parametrize("typed", [LOOK_ALIKE, "alice@example.com"])
def test_a_reset_is_mailed_to_the_address_of_the_account(alice: User, settings: Settings, typed: str) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    Client().post("/accounts/password/reset/", {"email": typed})
    assert [message.to for message in mail.outbox] == [[alice.email]]


def test_a_reset_goes_to_no_other_domain_than_the_accounts(settings: Settings) -> None:
    """Django would send to strasse.example, whose owner is somebody else."""
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    User.objects.create_user("alice@xn--strae-oqa.example", PASSWORD)
    page = Client().post("/accounts/password/reset/", {"email": "alice@stra\u00dfe.example"})
    assert page.status_code == 200
    assert mail.outbox == []


def test_a_second_address_is_stored_in_the_normal_form(alice: User, bob: User) -> None:
    client = Client()
    client.force_login(bob)
    client.post("/accounts/reauthenticate/", {"password": "battery staple"})
    for email in (LOOK_ALIKE, UMLAUT):
        client.post("/accounts/email/", {"action_add": "", "email": email})
    found = set(EmailAddress.objects.filter(user=bob).values_list("email", flat=True))
    assert ENCODED in found
    assert not [email for email in found if not email.isascii()]


def test_attempts_are_counted_for_the_account_however_it_is_typed(alice: User) -> None:
    for email in (LOOK_ALIKE, "alice@\uff45xample.com", alice.email, LOOK_ALIKE, alice.email, LOOK_ALIKE):
        page = Client().post("/accounts/login/", {"login": email, "password": "guess"})
    assert "Too many failed login attempts" in page.content.decode()


def test_commands_and_the_admin_have_the_same_rule(alice: User, client: Client) -> None:
    call_command("create_api_key", LOOK_ALIKE)
    call_command("create_api_key", UMLAUT, "--create-user")
    call_command("set_retention", "7", "--user", UMLAUT)
    with pytest.raises(CommandError, match="is not an e-mail address"):
        call_command("create_api_key", "al\u0131ce@example.com", "--create-user")
    assert set(User.objects.values_list("email", flat=True)) == {alice.email, ENCODED}
    client.force_login(User.objects.create_superuser("boss@example.com", PASSWORD))
    form = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    for email in (LOOK_ALIKE, UMLAUT):
        page = client.post("/admin/accounts/user/add/", {"email": email, **form})
        assert page.status_code == 200
        assert "already exists" in page.content.decode()


def test_the_first_administrator_has_it_too(client: Client) -> None:
    from accounts import first_administrator

    path = f"/setup/{first_administrator.make_token()}/"
    client.post(path, {"email": UMLAUT, "password1": PASSWORD, "password2": PASSWORD})
    assert User.objects.get().email == ENCODED


def test_an_account_is_deleted_by_its_address_as_the_owner_writes_it() -> None:
    user = User.objects.create_user(UMLAUT, PASSWORD)
    client = Client()
    client.force_login(user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert client.post("/account/delete/", {"email": UMLAUT}).status_code == 302
    assert not User.objects.exists()


# Accounts of earlier versions


def test_an_account_that_is_not_written_in_the_normal_form_keeps_signing_in() -> None:
    stored_as_before(UMLAUT)
    assert signs_in(UMLAUT, PASSWORD)


def test_a_look_alike_that_was_stored_keeps_its_form_and_signs_in(alice: User) -> None:
    stored_as_before(LOOK_ALIKE)
    assert signs_in(LOOK_ALIKE, PASSWORD)
    assert signs_in(alice.email, "correct horse")
    assert not signs_in(alice.email, PASSWORD)
