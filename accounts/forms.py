"""Forms that allauth does not have."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm
from django.utils import timezone

from accounts.models import LOCAL_EMAIL, Scope, User

LIFETIMES = [("", "never"), ("1", "in a day"), ("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year")]


class FirstAdministratorForm(BaseUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        refuse_reserved(email)
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("This address has an account already.")
        return email


class ApiKeyForm(forms.Form):
    name = forms.CharField(max_length=100, strip=True)
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, initial=Scope.values, error_messages={"required": "A key needs at least one scope."}
    )
    expires_in_days = forms.TypedChoiceField(
        choices=LIFETIMES, coerce=int, empty_value=None, required=False, label="Expires"
    )

    def expires_at(self) -> datetime | None:
        """The moment that was chosen, or None for a key without an end."""
        days: int | None = self.cleaned_data["expires_in_days"]
        return None if days is None else timezone.now() + timedelta(days=days)


def refuse_reserved(email: str) -> None:
    """Raises ValidationError for the local user's address: whoever had it would see what others paint."""
    if email.strip().lower() == LOCAL_EMAIL:
        raise forms.ValidationError("This address is kept for requests without a key.")
