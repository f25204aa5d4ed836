"""Second factors of allauth: encrypted secrets, plain names, and forms that refuse malformed credentials."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext

from accounts.models import User

SALT = "dreamlayer.second-factors"
UNREADABLE_BYTES = 20
"""Length of a secret of TOTP (RFC 4226, section 4: 160 bits)."""


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth ships no types
    def encrypt(self, text: str) -> str:
        """Encrypt with a key derived from SECRET_KEY, so that a copy of the database is not enough to make codes."""
        return _ciphers().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt, also with SECRET_KEY_FALLBACKS. A text of another key gives a random secret: no code is valid."""
        try:
            return _ciphers().decrypt(encrypted_text).decode()
        except InvalidToken:
            return base64.b32encode(secrets.token_bytes(UNREADABLE_BYTES)).decode()

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return gettext("Passkey") if number == 1 else gettext("Passkey {number}").format(number=number)


class LoginWebAuthnForm(forms.LoginWebAuthnForm):  # type: ignore[misc]
    def clean_credential(self) -> Authenticator:
        with _refuse_malformed():
            return super().clean_credential()


class AuthenticateWebAuthnForm(forms.AuthenticateWebAuthnForm):  # type: ignore[misc]
    def clean_credential(self) -> Authenticator:
        with _refuse_malformed():
            return super().clean_credential()


class ReauthenticateWebAuthnForm(forms.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    def clean_credential(self) -> Authenticator:
        with _refuse_malformed():
            return super().clean_credential()


class AddWebAuthnForm(forms.AddWebAuthnForm):  # type: ignore[misc]
    def clean(self) -> dict[str, object]:
        with _refuse_malformed():
            cleaned: dict[str, object] = super().clean()
            return cleaned


@contextmanager
def _refuse_malformed() -> Iterator[None]:
    """Raise ValidationError for JSON that is no credential, which fido2 2.2 answers with these errors."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MfaAdapter().validation_error("incorrect_code") from error


def _ciphers() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [salted_hmac(SALT, "", secret=key, algorithm="sha256").digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
