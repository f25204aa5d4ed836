"""What the pages of an account need to know besides the account."""

from __future__ import annotations

from allauth.account import app_settings
from django.http import HttpRequest


def mail(request: HttpRequest) -> dict[str, bool]:
    """sends_mail: whether addresses can be verified here; without mail nobody could."""
    return {"sends_mail": app_settings.EMAIL_VERIFICATION != app_settings.EmailVerificationMethod.NONE}
