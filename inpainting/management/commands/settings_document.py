"""Print the table of settings as Markdown, for `docs/use/settings.md`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from inpainting.cli.settings_document import settings_document


class Command(BaseCommand):
    help = "Print the table of settings as Markdown; docs/use/settings.md is made with it."
    requires_system_checks: list[str] = []  # noqa: RUF012 - the attribute is Django's

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(settings_document(), ending="")
