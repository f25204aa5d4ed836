"""Name what is missing in a site of several processes, before it is served."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from dreamlayer_site.server.supervisor import QUEUES
from dreamlayer_site.setup_checks import Level, find_all


class Command(BaseCommand):
    help = (
        "Connect to the database, the broker, the channel layer and the storage of these settings, and name what is "
        "missing to serve them. The exit status is 1 if something is an error."
    )
    requires_system_checks = ()  # they are among the findings

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--role", choices=["web", "worker"], default="web", help="of the processes to be started here"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        settings.ROLE, settings.QUEUES = options["role"], list(QUEUES) if options["role"] == "worker" else []
        findings = list(find_all())
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings]))
        else:
            styles = {Level.OK: self.style.SUCCESS, Level.WARNING: self.style.WARNING, Level.ERROR: self.style.ERROR}
            for finding in findings:
                line = f"{styles[finding.level](f'{finding.level:8}')} {finding.part}: {finding.message.rstrip('.')}."
                self.stdout.write(f"{line} {finding.advice}".rstrip())
        if any(finding.level == Level.ERROR for finding in findings):
            sys.exit(1)
