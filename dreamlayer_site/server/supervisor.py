"""The parent process of `serve`: holds the listening socket and restarts the serving child process when it dies.

It does not load Django, so that no error while generating can end it. Connections made while a new child starts wait
in the socket's backlog instead of being refused. With `--devices` it has a child for each device, and answers health
checks for all of them on the socket.

It tells a child which of the children before it crashed. Only these can have been ended by what they did: a child that
was killed from outside, or with this process, is not named.
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
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from uuid import uuid4

from dreamlayer_site.server.devices import find_devices
from dreamlayer_site.server.joined_monitoring import JoinedMonitoring

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000
OWN_HOST = "127.0.0.1"
"""Where the child of a device answers health checks, on a port of its own."""
FAILED_START_SECONDS = 1.5
"""A child that ends within this time is restarted with a growing pause."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
SHORTEST_WAIT_SECONDS, LOOK_SECONDS = 0.05, 1.0
"""How long a signal waits at most that the system has given to another thread than the main one, which handles it."""
BIND_RETRY_SECONDS = 5
"""How long binding is retried: a child whose parent was killed releases the address a moment later."""
STOP_SECONDS = 10
"""The default of --stop-seconds: after as long, `docker stop` kills a container."""
MAX_SECONDS = 86_400
"""A day: a timer of the system does not take every number."""
BACKLOG = 1024
"""Connections that wait while no child runs, at most."""
ENV_FILE = Path(__file__).resolve().parents[2] / ".env"
ROLES = ("all", "web", "worker")
QUEUES = ("cpu", "gpu", "hooks")
MAX_FILES = 2**20
"""The soft limit of open files is not raised further: some programs visit every possible file."""
SENT_FROM_OUTSIDE = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""The signals with which people and other programs end a process."""
REMEMBERED_CRASHES = 20
"""How many crashed children are named to the next: one that cannot start does not see to the work of those before."""
CHILD_ENVIRONMENT = {
    # NumPy's matrix products are small here: threads that wait for each other take twice as long beside other work.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc gives threads up to eight arenas for each processor, and each keeps some of what was freed in it: the memory
    # grows for hours, by the size of a large array each time that one comes to an arena that has had none.
    "MALLOC_ARENA_MAX": "2",
}
"""Variables of a child, unless the parent has others."""
VMSTAT = Path("/proc/vmstat")
INVALID_SETTINGS = 78
"""The exit status of a child that is not restarted (EX_CONFIG in sysexits.h): its settings are invalid, or the
data folder is used by another server or cannot be written. The parent ends with it, too."""


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
    parser.add_argument(
        "--devices",
        metavar="DEVICE,...",
        help="of a worker: one process for each of these devices, such as cuda:0,cuda:3; all: for each NVIDIA GPU",
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
        return INVALID_SETTINGS
    if options.devices is not None and options.role != "worker":
        print("--devices is for workers: add --role worker.", file=sys.stderr)
        return INVALID_SETTINGS
    try:
        devices = [] if options.devices is None else find_devices(options.devices)
    except ValueError as error:
        print(f"--devices {options.devices}: {error}.", file=sys.stderr)
        return INVALID_SETTINGS
    try:
        listener = listen(options.host, options.port)
        own = [listen(OWN_HOST, 0) for _ in devices]
    except OSError as error:
        print(f"Cannot listen on {options.host}:{options.port}: {error.strerror}.", file=sys.stderr)
        return 1
    settings = {
        "DREAMLAYER_BIND_HOST": options.host,
        "DREAMLAYER_ROLE": options.role,
        "DREAMLAYER_QUEUES": "" if options.role == "web" else options.queues,
    }
    children = [Child(listener, settings)]
    if devices:
        pairs = [*zip(devices, own, strict=True)]
        children = [Child(socket, settings | device.environment, device.name) for device, socket in pairs]
        JoinedMonitoring(listener, {device.name: socket for device, socket in pairs}).start()
    return Supervisor(children, options.stop_seconds, drain_seconds=drain_seconds).run()


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
            listener.listen(BACKLOG)
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


def is_crash(status: int, *, oom_kills: int) -> bool:
    """Return whether a child ended by itself: by an error, a fault of a library, or because it took too much memory.

    The kernel ends a process that takes too much with SIGKILL, as people do, and counts that.

    status: as of `Popen.wait`. oom_kills: `count_oom_kills` before the child was started.
    """
    if status == -signal.SIGKILL:
        return count_oom_kills() > oom_kills
    return status != 0 and -status not in SENT_FROM_OUTSIDE


def count_oom_kills() -> int:
    """Return how many processes of the machine the kernel has killed for lack of memory; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in VMSTAT.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


class Child:
    """One serving process after another.

    listener: the socket on which they answer. settings: environment variables of theirs. device: its name, in messages.
    """

    def __init__(self, listener: socket.socket, settings: dict[str, str], device: str = "") -> None:
        self.listener = listener
        # Their names have a random part in common: process IDs recur in restarted containers.
        self.settings = {**settings, "DREAMLAYER_PARENT": uuid4().hex[:8]}
        self.device = device
        self.crashed: list[int] = []
        """The process IDs of the last that crashed."""
        self.process: subprocess.Popen[bytes] | None = None
        """The one that runs."""
        self.starts_at = 0.0
        """When the next one starts while none runs, of a monotonic clock."""
        self._started, self._oom_kills, self._pause_seconds = 0.0, 0, 0.0

    def start(self, parent_fd: int, stop_seconds: float) -> subprocess.Popen[bytes]:
        """Start a process. parent_fd: a pipe that closes when this process ends, however it ends."""
        self._started, self._oom_kills = time.monotonic(), count_oom_kills()
        self.listener.listen(BACKLOG)  # again, since a process that was asked to stop has shut the socket down
        command = [sys.executable, sys.argv[0], "serve", "--child"]
        command += ["--listener-fd", str(self.listener.fileno()), "--parent-fd", str(parent_fd)]
        command += ["--stop-seconds", str(stop_seconds)]
        command += [f"--crashed={pid}" for pid in self.crashed]
        environment = {**CHILD_ENVIRONMENT, **os.environ, **self.settings}
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            command, pass_fds=[self.listener.fileno(), parent_fd], env=environment
        )
        return self.process

    def plan_restart(self, process: subprocess.Popen[bytes], status: int) -> None:
        """Let another one start: after growing pauses where it failed to start, at once where it has served."""
        if is_crash(status, oom_kills=self._oom_kills):
            self.crashed = [*self.crashed, process.pid][-REMEMBERED_CRASHES:]
        now = time.monotonic()
        longer = min(max(FIRST_PAUSE_SECONDS, self._pause_seconds * 2), LONGEST_PAUSE_SECONDS)
        self._pause_seconds = 0.0 if now - self._started > FAILED_START_SECONDS else longer
        self.starts_at = now + self._pause_seconds
        where = f" on {self.device}" if self.device else ""
        print(f"serve: the server{where} ended with status {status}; restarting it", file=sys.stderr, flush=True)


class Supervisor:
    """Runs the children until SIGINT or SIGTERM, or until the settings of one are invalid.

    Everything happens on the main thread, in the order of `_events`: the ends of processes, and None for a signal.
    """

    def __init__(
        self, children: Sequence[Child], stop_seconds: float = STOP_SECONDS, *, drain_seconds: float = 0
    ) -> None:
        self.children = children
        self.stop_seconds = stop_seconds
        self.drain_seconds = drain_seconds
        self.kills_at: float | None = None
        """When children that still run are killed, of a monotonic clock; None: it is not stopping."""
        self._events: SimpleQueue[tuple[Child, subprocess.Popen[bytes], int] | None] = SimpleQueue()
        self._parent_fd, self._alive_write = os.pipe()

    def run(self) -> int:
        """Return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._events.put(None))
        status = 0
        while self.kills_at is None or any(child.process for child in self.children):
            self._do_what_is_due()
            try:
                event = self._events.get(timeout=self._seconds_to_wait())
            except Empty:
                continue
            if event is None:
                self._stop()
                continue
            child, process, ended_with = event
            child.process = None
            if self.kills_at is not None:
                continue
            if ended_with == INVALID_SETTINGS:
                status = ended_with
                self._stop()
            else:
                child.plan_restart(process, ended_with)
        return status

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if self.kills_at is None:
                if child.process is None and child.starts_at <= now:
                    process = child.start(self._parent_fd, self.stop_seconds)
                    threading.Thread(target=self._await_end, args=(child, process), daemon=True).start()
            elif child.process is not None and self.kills_at <= now:
                child.process.kill()

    def _seconds_to_wait(self) -> float:
        planned = [child.starts_at for child in self.children if child.process is None]
        due = planned if self.kills_at is None else [self.kills_at]
        return min([LOOK_SECONDS, *(max(SHORTEST_WAIT_SECONDS, moment - time.monotonic()) for moment in due)])

    def _await_end(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        self._events.put((child, process, process.wait()))

    def _stop(self) -> None:
        """Let the children accept what waits in the backlog, drain, and end. A second signal changes nothing."""
        if self.kills_at is None:
            self.kills_at = time.monotonic() + max(1, self.drain_seconds + self.stop_seconds)
            for child in self.children:
                if child.process is not None:
                    child.process.send_signal(signal.SIGTERM)
