"""Deletion of an account: its sessions, keys and rows."""

from __future__ import annotations

from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession

from accounts.audit import Action
from accounts.models import AuditEntry, User


class OnlyAdministrator(Exception):
    """The site would have no administrator, and an old set-up link could be used again."""


def lock(user: User) -> None:
    """Lock the row until the transaction ends, so that nothing new of the user is committed meanwhile.

    Raises OnlyAdministrator.
    """
    administrators = User.objects.select_for_update().filter(is_superuser=True, is_active=True).order_by("pk")
    if [administrator.pk for administrator in administrators] == [user.pk]:
        raise OnlyAdministrator
    User.objects.select_for_update().get(pk=user.pk)


def delete(user: User) -> None:
    """End the sessions, revoke the keys, and delete all rows of the user; the audit log keeps the number alone.

    Call it in a transaction that has called `lock` and deleted what the user owns elsewhere.
    """
    AuditEntry.record(user, Action.DELETED, user, subject=user.pk)
    get_adapter().end_sessions(UserSession.objects.filter(user=user))
    for key in user.api_keys.filter(revoked_at=None):
        key.revoke()
    user.delete()
