"""Serve pages, API and websockets and run the workers: all in one process, or one role of several.

`manage.py serve` starts the parent process (dreamlayer_site/server/supervisor.py), which runs this command as its
child.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from celery import Celery
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError
from django.db import Error, connection
from django.urls import reverse

from accounts import first_administrator
from dreamlayer_site.celery import app
from dreamlayer_site.folder_lock import lock_data_folder
from dreamlayer_site.health import find_claim_problems, only_monitoring
from dreamlayer_site.hosts import ALL_INTERFACES, is_address, is_loopback
from dreamlayer_site.server import supervisor
from dreamlayer_site.server.bodies import OLD_SECONDS, remove_leftovers
from dreamlayer_site.server.daphne_server import LimitedServer, ReceivedBodyMiddleware
from dreamlayer_site.server.static_files import build_static_files
from dreamlayer_site.start_problems import refuse_missing_file, start_problems
from inpainting.engines.base import Queue
from inpainting.garbage import freeze_imports
from inpainting.generations.retention import SWEEP, due_sweep, sweep_if_due
from inpainting.generations.undoable_delete import hidden_too_long, purge_if_due
from inpainting.models import PeriodicJob
from inpainting.moderation import warn_where_unavailable
from inpainting.webhooks import HOOKS, WEBHOOK_WORKERS
from inpainting.worker import watchdog
from inpainting.worker.fleet import membership
from inpainting.worker.poller import Waiting, recover, release_own, start_poller, stop_working
from inpainting.worker.queue.claim_gate import claim_gate
from inpainting.worker.queue.fair_queue import worker_count
from inpainting.worker.warm_up import start_compiling, start_warming_up

EXIT_SECONDS = 1.5
"""The part of --stop-seconds that is left for the end of the process."""
RESTART_SECONDS = 5.0
"""The pause before a worker is started again whose connection to the broker has failed."""
_workers: dict[str, Any] = {}
"""The Celery worker of each queue of the broker that this process reads."""


class Command(BaseCommand):
    help = "Serve pages, API and websockets, and run the workers; all in one process, unless --role names one part."

    def add_arguments(self, parser: CommandParser) -> None:
        supervisor.add_arguments(parser)
        parser.add_argument("--child", action="store_true", help="set by the parent process")
        parser.add_argument("--listener-fd", type=int, help="set by the parent process")
        parser.add_argument("--parent-fd", type=int, help="set by the parent process")
        parser.add_argument("--crashed", type=int, action="append", default=[], help="set by the parent process")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["listener_fd"] is None:
            raise CommandError("Run “python manage.py serve”, without --child.")
        with lock_data_folder(settings.DATA_DIR) if settings.IS_ALONE else nullcontext():
            # No other process uses the folder where this one is alone.
            remove_leftovers(older_than_seconds=0 if settings.IS_ALONE else OLD_SECONDS)
            stop_seconds = settings.DRAIN_SECONDS + max(0, options["stop_seconds"] - EXIT_SECONDS)
            refuse_missing_file()  # before what connects, also to release what runs
            try:
                self.serve(options["listener_fd"], stop_seconds=stop_seconds, crashed=options["crashed"])
            except BaseException:
                release_before_exit()
                raise
        # Running generations have been released, and worker threads cannot be stopped: exit without waiting for them.
        logging.shutdown()
        os._exit(0)

    def serve(self, listener_fd: int, *, stop_seconds: float, crashed: Sequence[int]) -> None:
        with start_problems():
            if settings.ROLE != "worker":
                build_static_files()
            # Not earlier: its middleware reads the names of the static files.
            from dreamlayer_site.asgi import application

            freeze_imports(package="the site")
            waiting = start_working(crashed) if settings.QUEUES else 0
            if settings.ROLE == "worker":
                device = f" on {settings.DEVICE_NAME}" if settings.DEVICE_NAME else ""
                queues = ", ".join(settings.QUEUES)
                self.stdout.write(f"A worker for {queues}{device}; {site_address(listener_fd)}/readyz")
                self.stdout.flush()
            else:
                self.print_addresses(listener_fd, waiting)
        LimitedServer(
            ReceivedBodyMiddleware(only_monitoring(application) if settings.ROLE == "worker" else application),
            endpoints=[f"fd:fileno={listener_fd}"],
            server_name="DreamLayer",
            before_stop=partial(stop_working, drain_seconds=settings.DRAIN_SECONDS),
            stop_seconds=stop_seconds,
        ).run()

    def check(self, *args: Any, **options: Any) -> None:
        try:
            super().check(*args, **options)
        except SystemCheckError as error:
            error.returncode = supervisor.INVALID_SETTINGS
            raise

    def print_addresses(self, listener_fd: int, waiting: int) -> None:
        site = (settings.CSRF_TRUSTED_ORIGINS or [site_address(listener_fd)])[0]
        self.stdout.write(f"DreamLayer is at {site}/  (Ctrl-C stops it)")
        for address in addresses_for_others(listener_fd):
            self.stdout.write(f"  on other machines: {address}/")
        if waiting:
            self.stdout.write(f"Continuing {waiting} generation(s) of the last run.")
        if first_administrator.is_missing():
            self.stdout.write("There is no administrator yet. Create one with this link, within a day:")
            self.stdout.write(f"  {site}{reverse('setup', args=[first_administrator.make_token()])}")
        self.stdout.flush()


def start_working(crashed: Sequence[int] = ()) -> int:
    """Start the workers of this process. Return the number of queued generations that the last run left.

    crashed: as of `recover`.
    """
    claim_gate.find_problems = find_claim_problems
    for queue in Queue:
        if queue.served_with in settings.QUEUES:
            start_workers(queue, worker_count(queue))
    if HOOKS in settings.QUEUES and not settings.IS_ALONE:
        start_workers(HOOKS, WEBHOOK_WORKERS)
    # On other databases than SQLite another process may be running the others: if not, their leases expire.
    membership.join({queue: worker_count(queue) for queue in Queue})
    waiting = recover(crashed, is_alone=settings.IS_ALONE and connection.vendor == "sqlite")
    PeriodicJob.add(SWEEP)  # the poller looks for its row
    start_poller(Waiting(hidden_too_long()[:1], purge_if_due), Waiting(due_sweep(), sweep_if_due), is_woken=is_woken)
    if settings.ROLE == "worker" and Queue.CPU in settings.QUEUES:
        start_compiling()  # containers keep no machine code; elsewhere make leaves it, and an idle site needs less
    if Queue.GPU in settings.QUEUES:
        start_warming_up()
    warn_where_unavailable()
    return waiting


def release_before_exit() -> None:
    """Release what the workers of this process run, because the end of Python's main thread makes it fail.

    An error at the start, or Ctrl-C before Daphne handles it, comes while they run what the last process left.
    """
    with suppress(Error):  # a database that does not answer may be why the process ends
        release_own()


def site_address(listener_fd: int) -> str:
    with socket.socket(fileno=os.dup(listener_fd)) as listener:
        host, port = listener.getsockname()[:2]
    if host in ALL_INTERFACES:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def addresses_for_others(listener_fd: int) -> list[str]:
    """Return the URLs for other machines of the network; none if the server listens on a single address."""
    with socket.socket(fileno=os.dup(listener_fd)) as listener:
        bound, port = listener.getsockname()[:2]
    if bound not in ALL_INTERFACES:
        return []
    return [f"http://{host}:{port}" for host in settings.ALLOWED_HOSTS if is_address(host) and not is_loopback(host)]


def is_woken() -> bool:
    """Whether messages tell this process what other processes store: its workers are connected to the broker."""
    return not settings.IS_ALONE and all(worker.consumer.connection is not None for worker in _workers.values())


def start_workers(queue: str, count: int) -> None:
    """Start a Celery worker on threads of this process, for one queue of the broker.

    Each worker has its own Celery app, because all workers of one app consume the queues selected last.
    """
    app.finalize()
    own = Celery(queue, set_as_current=False)
    own.config_from_object(app.conf)

    def build() -> Any:
        _workers[queue] = own.WorkController(
            pool_cls="threads",
            concurrency=count,
            queues=[queue],
            hostname=f"{queue}-{os.getpid()}@{socket.gethostname()}",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            use_eventloop=False,  # kombu has one event loop in a process, and there are several workers
        )
        return _workers[queue]

    def work(worker: Any) -> None:
        worker.start()
        while not watchdog.stopping.wait(RESTART_SECONDS):  # it has ended, because of its connection to the broker
            build().start()

    threading.Thread(target=work, args=(build(),), name=f"{queue} workers", daemon=True).start()
