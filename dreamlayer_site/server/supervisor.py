"""The parent process of `serve`: holds the listening socket and restarts the serving child process when it dies.

It does not load Django, so that no error while generating can end it. Connections made while a new child starts wait
in the socket's backlog instead of being refused.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000
FAILED_START_SECONDS = 1.5
"""A child that ends within this time is restarted with a growing pause."""
BIND_RETRY_SECONDS = 5
"""How long binding is retried: a child whose parent was killed releases the address a moment later."""
STOP_SECONDS = 10
"""The default of --stop-seconds: after as long, `docker stop` kills a container."""
MAX_SECONDS = 86_400
"""A day: a timer of the system does not take every number."""
ENV_FILE = Path(__file__).resolve().parents[2] / ".env"
ROLES = ("all", "web", "worker")
QUEUES = ("cpu", "gpu", "hooks")
MAX_FILES = 2**20
"""The soft limit of open files is not raised further: some programs visit every possible file."""
INVALID_SETTINGS = 78
"""The exit status of a child that is not restarted (EX_CONFIG in sysexits.h): its settings are invalid, or the
data folder is used by another server or cannot be written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on (default %(default)s)")
    parser.add_argument(
        "--stop-seconds",
        type=seconds,
        default=STOP_SECONDS,
        help="how long stopping may take after DREAMLAYER_DRAIN_SECONDS: running responses are finished first "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--role",
        choices=ROLES,
        default=ROLES[0],
        help="web: pages, API and websockets; worker: the queues, and on its port only the health checks; "
        "all: both, the default",
    )
    parser.add_argument(
        "--queues",
        type=queues,
        default=",".join(QUEUES),
        metavar="QUEUE,...",
        help="the queues that it works on, unless its role is web (default %(default)s)",
    )


def seconds(text: str) -> float:
    """Return a number of seconds, less than a day. Raises ValueError."""
    value = float(text)
    if not 0 <= value < MAX_SECONDS:  # true of NaN, too
        raise ValueError(f"{text} is not at least 0 and less than {MAX_SECONDS}")
    return value


def queues(text: str) -> str:
    """Return names of queues, separated by commas, as the child reads them."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(QUEUES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(QUEUES)}")
    return ",".join(names)


def supervise(arguments: list[str]) -> int:
    """Serve until SIGINT (Ctrl-C) or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="manage.py serve", description="Serve DreamLayer.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    raise_file_limit()
    try:
        drain_seconds = read_drain_seconds()
    except ValueError:
        value = os.environ["DREAMLAYER_DRAIN_SECONDS"]
        message = (
            f"DREAMLAYER_DRAIN_SECONDS is “{value}”; it is a number of seconds, at least 0, less than {MAX_SECONDS}."
        )
        print(message, file=sys.stderr)
        return 1
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        print(f"Cannot listen on {options.host}:{options.port}: {error.strerror}.", file=sys.stderr)
        return 1
    settings = {
        "DREAMLAYER_BIND_HOST": options.host,
        "DREAMLAYER_ROLE": options.role,
        "DREAMLAYER_QUEUES": "" if options.role == "web" else options.queues,
    }
    return Supervisor(listener, settings, options.stop_seconds, drain_seconds=drain_seconds).run()


def read_drain_seconds() -> float:
    """Return how long a stopping child may finish its running generations, in seconds. Raises ValueError."""
    if ENV_FILE.exists():
        from environ import Env  # not at the top: without the file it is not needed here

        Env.read_env(ENV_FILE)
    return seconds(os.environ.get("DREAMLAYER_DRAIN_SECONDS") or "0")


def raise_file_limit() -> None:
    """Let this process and its children open as many files as they may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    with contextlib.suppress(OSError, ValueError):  # macOS permits fewer than its hard limit.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def listen(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + BIND_RETRY_SECONDS
    while True:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host.strip("[]"), port))
            listener.listen(1024)
            return listener
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def stop_with_parent(arguments: list[str]) -> None:
    """Exit, in the child, when the parent has died.

    The parent holds the other end of a pipe, which closes however the parent ends.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--parent-fd", type=int)
    parent_fd = parser.parse_known_args(arguments)[0].parent_fd

    def watch() -> None:
        os.read(parent_fd, 1)
        os._exit(1)

    if parent_fd is not None:
        threading.Thread(target=watch, daemon=True).start()


class Supervisor:
    def __init__(
        self,
        listener: socket.socket,
        settings: dict[str, str],
        stop_seconds: float = STOP_SECONDS,
        *,
        drain_seconds: float = 0,
    ) -> None:
        """Supervise a child.

        settings: environment variables of the child.
        """
        self.listener = listener
        self.settings = settings
        self.stop_seconds = stop_seconds
        self.drain_seconds = drain_seconds
        self.stopping = False
        self.child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGTERM, self.stop)
        pause_seconds = 0.0
        while not self.stopping:
            started = time.monotonic()
            status = self.run_child()
            if self.stopping:
                return 0
            if status == INVALID_SETTINGS:
                return 1
            lived_seconds = time.monotonic() - started
            # A child that fails to start is restarted after growing pauses; one that has served, at once.
            pause_seconds = 0.0 if lived_seconds > FAILED_START_SECONDS else min(max(0.5, pause_seconds * 2), 10)
            print(f"serve: the server ended with status {status}; restarting it", file=sys.stderr, flush=True)
            time.sleep(pause_seconds)
        return 0

    def run_child(self) -> int:
        # The child reads from this pipe, which closes when the parent ends, however it ends.
        alive_read, alive_write = os.pipe()
        command = [sys.executable, sys.argv[0], "serve", "--child"]
        command += ["--listener-fd", str(self.listener.fileno()), "--parent-fd", str(alive_read)]
        command += ["--stop-seconds", str(self.stop_seconds)]
        # NumPy's matrix products are small here: threads that wait for each other take twice as long beside other work.
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, **self.settings}
        self.child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            command, pass_fds=[self.listener.fileno(), alive_read], env=environment
        )
        os.close(alive_read)
        try:
            return self.child.wait()
        finally:
            os.close(alive_write)

    def stop(self, signum: int, frame: object) -> None:
        self.stopping = True
        if self.child is None or self.child.poll() is not None:
            raise SystemExit(0)  # no child is running
        self.child.send_signal(signal.SIGTERM)  # It accepts what waits in the backlog, then connections are refused.
        signal.signal(signal.SIGALRM, self.kill)
        signal.setitimer(signal.ITIMER_REAL, max(1, self.drain_seconds + self.stop_seconds))

    def kill(self, signum: int, frame: object) -> None:
        if self.child is not None:
            self.child.kill()
