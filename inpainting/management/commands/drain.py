"""Drain or resume a worker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inpainting.models import Worker
from inpainting.worker.drain import drain, resume


class Command(BaseCommand):
    help = (
        "Let a worker claim no work any more, until it is resumed or started anew. What it runs goes on. "
        "With --all, let all workers of a host. Without a name, list the workers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="the worker's name, or a beginning that only one has; or its host")
        parser.add_argument("--all", action="store_true", help="all workers of the host, one or several")
        parser.add_argument("--resume", action="store_true", help="let it claim again")

    def handle(self, *args: Any, **options: Any) -> None:
        workers = list(Worker.live())
        if options["name"] is None:
            if options["all"]:
                raise CommandError("Name the host whose workers are meant.")
            if options["resume"]:
                raise CommandError("Name the worker that is to be resumed.")
            for worker in workers:
                words = (worker.name, ",".join(worker.queues), worker.device, worker.state)
                self.stdout.write("  ".join(word for word in words if word))
            return
        found = find_all(options["name"], workers) if options["all"] else [find(options["name"], workers)]
        change, state = (resume, "claims work again") if options["resume"] else (drain, "claims no more work")
        for worker in found:
            self.stdout.write(f"{worker} {'' if change(worker) else 'already '}{state}.")


def find_all(host: str, workers: list[Worker]) -> list[Worker]:
    """Return the workers of a host. Raises CommandError."""
    if found := [worker for worker in workers if worker.host == host]:
        return found
    hosts = ", ".join(sorted({worker.host for worker in workers})) or "none"
    raise CommandError(f"No live worker runs on that host; there are workers on: {hosts}.")


def find(name: str, workers: list[Worker]) -> Worker:
    """Return the worker of that name, or the only one whose name begins so. Raises CommandError."""
    found = [worker for worker in workers if worker.name == name]
    found = found or [worker for worker in workers if worker.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(worker.name for worker in found or workers) or "none"
    problem = "Several live workers have a name that begins so" if found else "No live worker has that name; there are"
    raise CommandError(f"{problem}: {names}.")
