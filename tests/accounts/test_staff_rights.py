"""Staff cannot give rights that they lack, neither to themselves nor by taking over another account."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts.models import ApiKey, User

pytestmark = pytest.mark.django_db
PASSWORD = "a rather long one 42"
USERS = "/admin/accounts/user/"
NEW_PASSWORD = {"password1": "another long one 42", "password2": "another long one 42", "usable_password": "true"}


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


@pytest.fixture
def staff() -> User:
    """Somebody who may do all with accounts, groups and addresses, and has no other rights."""
    user = User.objects.create_user("staff@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__model__in=["user", "group", "emailaddress"]))
    return user


@pytest.fixture
def browser(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss@example.com", PASSWORD)


def change(client: Client, user: User, **fields: Any) -> int:
    """Send the form of a user with these values. Returns the status."""
    sent = {"email": user.email, "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    return int(client.post(f"{USERS}{user.pk}/change/", {**sent, **fields}).status_code)


def test_nobody_makes_themselves_a_superuser(browser: Client, staff: User) -> None:
    rights = staff.get_all_permissions()
    group = Group.objects.create(name="reviewers")
    sent = {"is_superuser": "on", "groups": [group.pk], "user_permissions": [permission("delete_generation").pk]}
    assert change(browser, staff, **sent) == 302
    staff = User.objects.get(pk=staff.pk)
    assert not staff.is_superuser
    assert staff.is_staff  # a field that is shown and not sent
    assert staff.get_all_permissions() == rights
    assert not staff.groups.exists()


def test_nobody_makes_others_staff(browser: Client, alice: User) -> None:
    assert change(browser, alice, is_staff="on", is_superuser="on", email="alice@example.org") == 302
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser, alice.email) == (False, False, "alice@example.org")


@pytest.mark.parametrize("is_active", [True, False])
def test_a_superuser_is_changed_and_deleted_by_superusers_alone(browser: Client, boss: User, is_active: bool) -> None:
    User.objects.filter(pk=boss.pk).update(is_active=is_active)
    assert browser.get(f"{USERS}{boss.pk}/change/").status_code == 200
    assert change(browser, boss, email="mine@example.com") == 403
    assert browser.post(f"{USERS}{boss.pk}/password/", NEW_PASSWORD).status_code == 403
    assert browser.post(f"{USERS}{boss.pk}/delete/", {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [boss.pk], "post": "yes"}
    assert browser.post(USERS, action).status_code == 403
    boss.refresh_from_db()
    assert boss.email == "boss@example.com"
    assert boss.check_password(PASSWORD)


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("by_group", [True, False])
def test_an_account_with_other_rights_is_not_taken_over(
    browser: Client, bob: User, by_group: bool, is_active: bool
) -> None:
    User.objects.filter(pk=bob.pk).update(is_staff=True, is_active=is_active)
    if by_group:
        group = Group.objects.create(name="reviewers")
        group.permissions.add(permission("view_generation"))
        bob.groups.add(group)
    else:
        bob.user_permissions.add(permission("view_generation"))
    assert change(browser, bob, email="mine@example.com") == 403
    assert browser.post(f"{USERS}{bob.pk}/password/", NEW_PASSWORD).status_code == 403


def test_an_account_with_the_same_rights_is_changed(browser: Client, bob: User) -> None:
    bob.user_permissions.add(permission("change_user"))
    assert change(browser, bob, email="bob@example.org") == 302
    assert browser.post(f"{USERS}{bob.pk}/password/", NEW_PASSWORD).status_code == 302


def test_groups_and_addresses_are_no_way_around(browser: Client, staff: User, boss: User) -> None:
    group = Group.objects.create(name="staff")
    staff.groups.add(group)
    sent = {"name": "staff", "permissions": [permission("view_generation").pk]}
    assert browser.get(f"/admin/auth/group/{group.pk}/change/").status_code == 200
    assert browser.post(f"/admin/auth/group/{group.pk}/change/", sent).status_code == 403
    assert browser.post("/admin/auth/group/add/", {**sent, "name": "more"}).status_code == 403
    address = {"user": boss.pk, "email": "mine@example.com", "verified": "on"}
    assert browser.post("/admin/account/emailaddress/add/", address).status_code == 403
    assert not EmailAddress.objects.exists()
    mine = EmailAddress.objects.create(user=boss, email="mine@example.com")
    browser.post("/admin/account/emailaddress/", {"action": "make_verified", "_selected_action": [mine.pk]})
    mine.refresh_from_db()
    assert not mine.verified


def test_who_may_only_look_revokes_no_keys(browser: Client, staff: User, alice: User) -> None:
    key, _ = ApiKey.issue(alice)
    staff.user_permissions.add(permission("view_apikey"))
    for count in (0, 1):
        browser.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
        assert ApiKey.objects.exclude(revoked_at=None).count() == count
        staff.user_permissions.add(permission("change_apikey"))


def test_superusers_give_rights(client: Client, boss: User, alice: User) -> None:
    client.force_login(boss)
    assert change(client, alice, is_staff="on", user_permissions=[permission("view_user").pk]) == 302
    alice = User.objects.get(pk=alice.pk)
    assert alice.is_staff
    assert alice.get_all_permissions() == {"accounts.view_user"}
    address = {"user": alice.pk, "email": "alice@example.org", "verified": "on"}
    assert client.post("/admin/account/emailaddress/add/", address).status_code == 302
    for path in ("/admin/auth/group/", "/admin/account/emailaddress/?q=alice"):
        assert client.get(path).status_code == 200
