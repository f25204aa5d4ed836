"""Admin pages of users, their API keys, second factors and sessions."""

from __future__ import annotations

from typing import Any

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_lazy

from accounts.audit import Action
from accounts.models import ApiKey, AuditEntry, User

LIST_LENGTH = 50


def own_list(response: HttpResponse) -> HttpResponse:
    """Add what `list_base.html` needs to the response of a list of Django's: the choices of each filter."""
    context = getattr(response, "context_data", None)
    if context and "cl" in context:
        changes = context["cl"]
        context["filters"] = [(spec, list(spec.choices(changes))) for spec in changes.filter_specs]
    return response


class UserCreationForm(BaseUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)


RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


def has_rights_of(request: HttpRequest, account: User | None) -> bool:
    """Return whether the user of the request has every right of an account, which may be inactive at the moment."""
    if account is None or is_superuser(request):
        return True
    theirs = Permission.objects.filter(Q(user=account) | Q(group__user=account)).select_related("content_type")
    names = {f"{permission.content_type.app_label}.{permission.codename}" for permission in theirs}
    return not account.is_superuser and names <= request.user.get_all_permissions()


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    add_form = UserCreationForm
    change_list_template = "admin/users.html"
    list_per_page = LIST_LENGTH
    ordering = ("email",)
    list_display = ("email", "is_staff", "is_active", "date_joined", "last_login")
    search_fields = ("email",)
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        (gettext_lazy("Rights"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "password1", "password2")}),)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = {
            "title": gettext("Users"),
            "section": "users",
            "one": gettext("user"),
            "many": gettext("users"),
            "search_label": gettext("E-mail address"),
        }
        return own_list(super().changelist_view(request, {**words, **(extra_context or {})}))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Only superusers give rights: with “Can change user” alone, staff would give themselves all of them."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if is_superuser(request) else (*fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Also require the rights of the account: who sets its password or address signs in with them."""
        return super().has_change_permission(request, obj) and has_rights_of(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and has_rights_of(request, obj)


class ChangedBySuperusers(admin.ModelAdmin):
    """Rows by which staff would get the rights of others: other staff see them, with the permission."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_superuser(request)


admin.site.unregister(Group)
admin.site.unregister(EmailAddress)


@admin.register(Group)
class GroupAdmin(ChangedBySuperusers, DjangoGroupAdmin):
    """A group gives its members permissions."""


@admin.register(EmailAddress)
class EmailAddressAdmin(ChangedBySuperusers, AllauthEmailAddressAdmin):  # type: ignore[misc]
    """A link that sets the password is mailed to each address of an account."""

    make_verified = admin.action(permissions=["change"])(AllauthEmailAddressAdmin.make_verified)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    list_display = (
        "name",
        "prefix",
        "owner",
        "scopes",
        "service",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("revoked_at",)
    search_fields = ("name", "prefix", "owner__email")
    readonly_fields = (
        *("owner", "name", "prefix", "scopes", "ends_links", "service"),
        *("created_at", "last_used_at", "expires_at", "revoked_at"),
    )
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a key is shown once, to its owner: by `create_api_key` or on the page “API keys”

    @admin.action(description=gettext_lazy("Revoke selected API keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        revoked = 0
        with transaction.atomic():
            for key in keys:
                if key.revoke():
                    AuditEntry.record(request.user, Action.REVOKED, key, subject=key.owner_id)
                    revoked += 1
        self.message_user(request, gettext("API keys revoked: {revoked}.").format(revoked=revoked))


class RemovableOnly(admin.ModelAdmin):
    """Rows that an administrator sees and deletes, but neither adds nor changes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


# allauth's own pages show the secrets in `data` and the session keys, and search by user names.
admin.site.unregister(Authenticator)
admin.site.unregister(UserSession)


@admin.register(Authenticator)
class AuthenticatorAdmin(RemovableOnly):
    """Deleting the rows of a user who has lost phone and recovery codes turns the second factor off."""

    fields = ("user", "type", "created_at", "last_used_at")
    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    search_fields = ("user__email",)


@admin.register(UserSession)
class UserSessionAdmin(RemovableOnly):
    fields = ("user", "ip", "user_agent", "created_at", "last_seen_at")
    list_display = ("user", "ip", "created_at", "last_seen_at")
    search_fields = ("user__email", "ip")

    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        get_adapter().end_sessions([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        get_adapter().end_sessions(queryset)
