"""The allauth adapter: reserved addresses, open or closed sign-up, and the limit of failed sign-ins."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal.ratelimit import get_ip
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest

from accounts.forms import refuse_reserved
from accounts.hashers import HashingBusy
from accounts.models import User


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    def clean_email(self, email: str) -> str:
        refuse_reserved(email)
        return email

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGNUP_OPEN)

    def send_account_already_exists_mail(self, email: str) -> None:
        """Also hash a password, so that signing up with a known address takes as long as with an unknown one."""
        make_password(email)
        super().send_account_already_exists_mail(email)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        try:
            user: User | None = super().authenticate(request, **credentials)
        except HashingBusy:
            self._rollback_login_failed_rl_usage()  # the password was not checked
            raise
        return user

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count failed sign-ins per account and address: counted per account, others could lock its owner out."""
        return f"{super()._get_login_attempts_cache_key(request, **credentials)}:{get_ip(request)}"
