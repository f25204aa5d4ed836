"""Create an API key and print it on stdout."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from accounts.audit import Action
from accounts.models import ApiKey, Scope, User
from accounts.path_tokens import record_path_token


class Command(BaseCommand):
    help = "Create an API key for the account with this e-mail address and print only the key on stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="command line", help="what the key is for (default: %(default)s)")
        parser.add_argument("--create-user", action="store_true", help="create the account if there is none")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            help="a scope of the key; repeat the option for several (default: all scopes)",
        )
        parser.add_argument("--expires-in-days", type=positive, help="days until the key expires (default: never)")
        parser.add_argument(
            "--in-path-of",
            default="",
            choices=settings.PATH_TOKEN_SERVICES,
            help="make a path token, which may only paint: for clients of this service that have no place for a key",
        )
        parser.add_argument("--ends-links", action="store_true", help="end the signed links in its responses with it")

    def handle(self, *args: Any, **options: Any) -> None:
        email = User.objects.address_to_find(options["email"]).lower()
        user = User.objects.filter(email__iexact=email).first()
        if user is None and options["create_user"]:
            try:
                validate_email(email)
                user = User.objects.create_user(email)  # without a password; “Forgot your password?” sets one
            except ValidationError as error:
                raise CommandError(f"{email} is not an e-mail address. {error.message}") from error
        if user is None:
            raise CommandError(f"No account has the address {email}; add --create-user to create one.")
        days: int | None = options["expires_in_days"]
        with transaction.atomic():
            key, text = ApiKey.issue(
                user,
                name=options["name"][:100],
                scopes=dict.fromkeys(options["scope"] or Scope.values),
                expires_at=None if days is None else timezone.now() + timedelta(days=days),
                ends_links=options["ends_links"],
                service=options["in_path_of"],
            )
            record_path_token(None, Action.ADDED, key)
        self.stdout.write(text)


def positive(text: str) -> int:
    """Parse a number of days from 1 to 36500."""
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise ArgumentTypeError(f"{text} is not a number of days from 1 to 36500")
    return int(text)
