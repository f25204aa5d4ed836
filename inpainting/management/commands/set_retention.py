"""Set how long generations are kept."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import User
from inpainting.generations.retention import too_old_after
from inpainting.models import Retention


class Command(BaseCommand):
    help = (
        "Set the number of days after which ended generations are deleted with their images, for all users or for one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "days", help="1 or more; “never” keeps them for ever, or, with --user, for as long as all users may"
        )
        parser.add_argument("--user", metavar="EMAIL", help="for this user only; never longer than for all users")

    def handle(self, *args: Any, **options: Any) -> None:
        user, email = None, options["user"]
        if email is not None:
            user = User.objects.filter(email__iexact=User.objects.address_to_find(email)).first()
            if user is None:
                raise CommandError(f"No account has the address {email}.")
        if options["days"] != "never" and not options["days"].isdecimal():
            raise CommandError(f"{options['days']} is neither a number of days nor “never”.")
        try:
            days = Retention.set(user, None if options["days"] == "never" else int(options["days"])).days
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        soon = too_old_after(days, user, now=timezone.now()).count()
        self.stdout.write(f"{soon} generation(s) have expired; a running server deletes them within the hour.")
