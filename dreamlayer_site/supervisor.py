"""The parent of `serve`: it holds the listening socket and one child, and starts the child again when it dies.

No Django in here: whatever happens while painting cannot take the parent down, and connections made while a new child
starts wait in the socket's queue instead of being refused.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000
CANNOT_START_SECONDS = 1.5
LISTEN_PATIENCE_SECONDS = 5
"""How long an address may be in use: a child whose parent was killed lets go of it a moment later."""
DRAIN_SECONDS = 30
"""How long a child may take to finish after it is told to stop."""
WRONG_SETTINGS = 78
"""With this status a child says that its settings are refused, so that no other would start (EX_CONFIG, sysexits.h)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on (default %(default)s)")


def supervise(arguments: list[str]) -> int:
    """Serve until told to stop (Ctrl-C, SIGTERM); returns the exit status."""
    parser = argparse.ArgumentParser(prog="manage.py serve", description="Serve DreamLayer.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        print(f"Cannot listen on {options.host}:{options.port}: {error.strerror}.", file=sys.stderr)
        return 1
    return Supervisor(listener, options.host).run()


def listen(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + LISTEN_PATIENCE_SECONDS
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
    """For the child, first of all: end when the parent is gone, for nobody would start it again.

    The parent holds the other end of a pipe, which closes however it went.
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
    def __init__(self, listener: socket.socket, host: str) -> None:
        self.listener = listener
        self.host = host
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
            if status == WRONG_SETTINGS:
                return 1
            lived_seconds = time.monotonic() - started
            # A child that cannot even start is tried again ever more slowly; one that served, at once.
            pause_seconds = 0.0 if lived_seconds > CANNOT_START_SECONDS else min(max(0.5, pause_seconds * 2), 10)
            print(f"serve: the server ended with status {status}; starting it again", file=sys.stderr, flush=True)
            time.sleep(pause_seconds)
        return 0

    def run_child(self) -> int:
        # The child reads this pipe: when the parent is gone, however it went, the pipe closes and the child stops.
        alive_read, alive_write = os.pipe()
        command = [sys.executable, sys.argv[0], "serve", "--child"]
        command += ["--listener-fd", str(self.listener.fileno()), "--parent-fd", str(alive_read)]
        environment = {**os.environ, "DREAMLAYER_BIND_HOST": self.host}
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
            raise SystemExit(0)  # between two children
        self.child.send_signal(signal.SIGTERM)
        signal.signal(signal.SIGALRM, self.kill)
        signal.alarm(DRAIN_SECONDS)

    def kill(self, signum: int, frame: object) -> None:
        if self.child is not None:
            self.child.kill()
