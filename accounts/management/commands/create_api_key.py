"""Make an API key and print it, alone, on stdout."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from accounts.models import ApiKey, User


class Command(BaseCommand):
    help = "Make an API key for the account with this e-mail address; prints the key alone on stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="command line", help="what the key is for (default: %(default)s)")
        parser.add_argument("--create-user", action="store_true", help="make the account if there is none")

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"].lower()
        user = User.objects.filter(email__iexact=email).first()
        if user is None and options["create_user"]:
            try:
                validate_email(email)
            except ValidationError as error:
                raise CommandError(f"{email} is not an e-mail address.") from error
            user = User.objects.create_user(email)  # no password: it can be set by "forgot password"
        if user is None:
            raise CommandError(f"No account has the address {email}; add --create-user to make one.")
        _, key = ApiKey.issue(user, name=options["name"][:100])
        self.stdout.write(key)
