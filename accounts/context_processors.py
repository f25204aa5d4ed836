"""Template context processors."""

from __future__ import annotations

from allauth.account import app_settings
from django.http import HttpRequest


def email_delivery(request: HttpRequest) -> dict[str, bool]:
    """Add `sends_mail`: whether the site sends e-mail, and therefore verifies addresses."""
    return {"sends_mail": app_settings.EMAIL_VERIFICATION != app_settings.EmailVerificationMethod.NONE}
