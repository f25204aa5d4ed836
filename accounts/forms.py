"""Forms that allauth does not have."""

from __future__ import annotations

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm

from accounts.models import User


class FirstAdministratorForm(BaseUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("This address has an account already.")
        return email


class ApiKeyForm(forms.Form):
    name = forms.CharField(max_length=100, strip=True)
