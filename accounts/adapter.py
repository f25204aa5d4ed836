"""The allauth adapter: reserved addresses, open or closed sign-up, links in mail, and the limit of failed sign-ins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as allauth_context
from allauth.core.internal.ratelimit import get_ip
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest
from django.utils.translation import get_language, override

from accounts.forms import refuse_reserved
from accounts.hashers import HashingBusy
from accounts.models import User
from accounts.site_url import site_url


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    def clean_email(self, email: str) -> str:
        address = User.objects.normalize_email(email)
        refuse_reserved(address)
        return address

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGNUP_OPEN)

    def send_account_already_exists_mail(self, email: str) -> None:
        """Also hash a password, so that signing up with a known address takes as long as with an unknown one."""
        make_password(email)
        super().send_account_already_exists_mail(email)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail in the language of the account. Its links and its signature have the address of the site: allauth
        takes it from the Host header."""
        user = context.get("user") or User.objects.filter(email__iexact=email).first()
        language = (user and user.chosen_language) or get_language()
        site = site_url(allauth_context.request)
        links = {name: site + path_of(value) for name, value in context.items() if name.endswith("_url")}
        domain = urlsplit(site).netloc
        signature = SimpleNamespace(name=domain, domain=domain)
        with override(language):
            super().send_mail(template_prefix, email, {**context, **links, "current_site": signature})

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        try:
            user: User | None = super().authenticate(request, **credentials)
        except HashingBusy:
            self._rollback_login_failed_rl_usage()  # the password was not checked
            raise
        return user

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count failed sign-ins per account and address: counted per account, others could lock its owner out.

        allauth also counts them per Host header, so that each port in it would have attempts of its own.
        """
        return f"{credentials.get('email', '').lower()}:{get_ip(request)}"


def path_of(url: str) -> str:
    """Return the path and query of an absolute URL."""
    return "/" + url.partition("://")[2].partition("/")[2]
