"""The audit log: what administrators did, to what, and when; and which path tokens users made and revoked.

Entries are only ever added.

Django's own `admin.LogEntry` cannot serve as one: deleting a user deletes the entries of that user (its foreign key
cascades), its rows can be changed and deleted, it has no values before and after a change, and only the admin's forms
write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Action(models.TextChoices):
    VERDICT = "verdict", "gave a verdict on"
    HIDDEN_RESULT = "hidden-result", "opened a hidden result of"
    ADDED = "added", "added"
    CHANGED = "changed", "changed"
    DELETED = "deleted", "deleted"
    REVOKED = "revoked", "revoked"
    PULLED = "pulled", "started the download of"
    FILES_REMOVED = "files-removed", "removed the files of"


class AuditLogIsAppendOnly(TypeError):
    """An entry of the audit log was to be changed or deleted."""

    def __init__(self) -> None:
        super().__init__("Entries of the audit log can be neither changed nor deleted.")


class AppendOnlyQuerySet(models.QuerySet["AuditEntry"]):
    """Refuses every method that changes or deletes rows. Triggers of the database refuse the same in plain SQL."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AuditLogIsAppendOnly

    def delete(self) -> NoReturn:
        raise AuditLogIsAppendOnly

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditLogIsAppendOnly


def user_reference(help_text: str) -> models.ForeignKey[Any]:
    """Return a reference that outlives the account: without a constraint, deleting a user leaves the number of the
    account."""
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+",
        help_text=help_text,
    )  # fmt: skip


class AuditEntry(models.Model):
    """One action, of an administrator unless it is about a path token. It holds no e-mail address, so it stays when an
    account is deleted."""

    at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)
    actor = user_reference("the administrator")
    action = models.CharField(max_length=20, choices=Action.choices, editable=False)
    target_type = models.CharField(max_length=60, editable=False, help_text="the model, such as inpainting.generation")
    target_id = models.CharField(max_length=60, editable=False)
    subject = user_reference("the user whose data it is")
    note = models.TextField(blank=True, editable=False)
    before = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    after = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit log"
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["target_type", "target_id"])]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.target_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AuditLogIsAppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditLogIsAppendOnly

    @classmethod
    def record(
        cls,
        actor: Any,
        action: Action,
        target: models.Model,
        *,
        subject: Any = None,
        note: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> AuditEntry:
        """Add an entry. Call it in the transaction of the change.

        subject: the id of the user whose data it is.
        before, after: the values that were changed, by their names.
        """
        return cls.objects.create(
            actor_id=getattr(actor, "pk", None),
            action=action,
            target_type=target._meta.label_lower,
            target_id=str(getattr(target, "slug", target.pk)),
            subject_id=subject,
            note=note,
            before=dict(before or {}),
            after=dict(after or {}),
        )

    @property
    def target_name(self) -> str:
        """The kind of the target and its id, such as "generation 3f2a…"."""
        return f"{self.target_type.rpartition('.')[2]} {self.target_id}"

    @property
    def actor_name(self) -> str:
        """The e-mail address; for a deleted account its number. Read the entry with `select_related("actor")`."""
        return account_name(self.actor_id, self.actor) or "nobody signed in"

    @property
    def subject_name(self) -> str:
        """Return the address or number of the subject, as `actor_name` does; empty if the target belongs to no user."""
        return account_name(self.subject_id, self.subject)

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """Return name, value before and value after for each value that was changed, by name."""
        names = sorted({*self.before, *self.after})
        return [(name, self.before.get(name), self.after.get(name)) for name in names]


def account_name(number: int | None, account: Any) -> str:
    if number is None:
        return ""
    return f"deleted account {number}" if account is None else str(account)
