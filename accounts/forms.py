"""Forms for signing in, for the first administrator and for API keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from allauth.account.forms import LoginForm, ResetPasswordForm, SignupForm
from django import forms
from django.conf import settings
from django.contrib.auth.forms import BaseUserCreationForm, SetPasswordMixin
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

from accounts.models import LOCAL_EMAIL, Scope, User

SIGN_UP_HELP = gettext_lazy("At least 8 characters, none that many people use, and not like your address.")
"""AUTH_PASSWORD_VALIDATORS in one sentence."""
PATH_TOKENS: dict[str, str] = settings.PATH_TOKEN_SERVICES
LIFETIMES = [
    ("", pgettext_lazy("when a key expires", "never")),
    ("1", gettext_lazy("in a day")),
    ("30", gettext_lazy("in 30 days")),
    ("90", gettext_lazy("in 90 days")),
    ("365", gettext_lazy("in a year")),
]


class SignInForm(LoginForm):  # type: ignore[misc]  # allauth has no types
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remember"].label = gettext("Stay signed in")

    def clean_login(self) -> str:
        return User.objects.address_to_find(super().clean_login())


class PasswordResetForm(ResetPasswordForm):  # type: ignore[misc]
    def clean_email(self) -> str:
        """Return the address of the account that is found: allauth would send its link to the address as typed."""
        return User.objects.normalize_email(super().clean_email())


class SignUpForm(SignupForm):  # type: ignore[misc]  # allauth has no types
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].help_text = SIGN_UP_HELP


class FirstAdministratorForm(BaseUserCreationForm):
    password1, password2 = SetPasswordMixin.create_password_fields(label2=gettext_lazy("Password (again)"))

    class Meta:
        model = User
        fields = ("email",)
        labels: ClassVar = {"email": gettext_lazy("Email")}

    def clean_email(self) -> str:
        email = User.objects.normalize_email(self.cleaned_data["email"])
        refuse_reserved(email)
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError(gettext("An account with this address already exists."))
        return email


class ApiKeyForm(forms.Form):
    name = forms.CharField(max_length=100, strip=True)
    service = forms.ChoiceField(
        choices=[
            ("", gettext_lazy("in each request")),
            *(
                (name, format_lazy(gettext_lazy("in {service}’s address"), service=label))
                for name, label in PATH_TOKENS.items()
            ),
        ],
        required=False,
        label=pgettext_lazy("how a key is sent", "Sent"),
    )
    scopes = forms.MultipleChoiceField(choices=Scope.choices, initial=Scope.values, required=False)
    expires_in_days = forms.TypedChoiceField(
        choices=LIFETIMES, coerce=int, empty_value=None, required=False, label=gettext_lazy("Expires")
    )
    ends_links = forms.BooleanField(
        required=False, label=gettext_lazy("Links to results in its responses end with the key")
    )

    def clean(self) -> None:
        """Ask for scopes of keys: a path token has one."""
        if not (self.cleaned_data.get("service") or self.cleaned_data.get("scopes")):
            self.add_error("scopes", gettext("A key needs at least one scope."))

    def expires_at(self) -> datetime | None:
        """Return the expiry that was chosen, or None for a key that never expires."""
        days: int | None = self.cleaned_data["expires_in_days"]
        return None if days is None else timezone.now() + timedelta(days=days)


def refuse_reserved(email: str) -> None:
    """Raise ValidationError for the local user's address: that account sees all generations made without a key."""
    if email.strip().lower() == LOCAL_EMAIL:
        raise forms.ValidationError(gettext("This address is reserved for requests without an API key."))
