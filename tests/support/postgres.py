"""A PostgreSQL server for the tests, started for one run and removed after it."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.support.ports import free_port

DEBIAN = Path("/usr/lib/postgresql")
START_ATTEMPTS = 20


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, or None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


class Server:
    """A server that ends with this process; `kill` and `start` let it crash and come back.

    primary: of which this is a standby, by streaming replication.
    """

    def __init__(self, *, primary: Server | None = None) -> None:
        folder = binaries()
        if folder is None:
            raise RuntimeError(
                "PostgreSQL is not installed: initdb is neither on the PATH nor under /usr/lib/postgresql"
            )
        self.data = Path(tempfile.mkdtemp(prefix="dreamlayer-postgres-"))
        self.port = free_port()
        self.url = f"postgres://dreamlayer@127.0.0.1:{self.port}/postgres"
        # PostgreSQL refuses to run as root; its package made a user for it.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.data, self.user)
        if primary is None:
            self.run(str(folder / "initdb"), "-D", str(self.data), "-A", "trust", "-U", "dreamlayer", "--no-sync")
        else:
            copy = ["-D", str(self.data), "-d", primary.url, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
            self.run(str(folder / "pg_basebackup"), *copy)
        self.control = [str(folder / "pg_ctl"), "-D", str(self.data), "-w", "-l", str(self.data / "log")]
        self.start()
        atexit.register(self.remove)

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, user=self.user, cwd="/", stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.data} -c listen_addresses=127.0.0.1 -c fsync=off"
        for attempt in range(START_ATTEMPTS):  # a killed server's last process may still hold its shared memory
            try:
                return self.run(*self.control, "-o", options, "start")
            except subprocess.CalledProcessError:
                if attempt + 1 == START_ATTEMPTS:
                    raise
                time.sleep(1)

    def kill(self) -> None:
        """Kill the processes of the server, as a crash of its machine does."""
        parent = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def promote(self) -> None:
        """End the replication: this standby accepts writes from now on."""
        self.run(*self.control, "promote")

    def set(self, name: LiteralString, value: LiteralString) -> None:
        """Change a setting of the running server."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
            connection.execute("SELECT pg_reload_conf()")

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):  # killed
            self.run(*self.control, "-m", "immediate", "stop")
        shutil.rmtree(self.data, ignore_errors=True)


def start() -> str:
    """Start a server; returns its URL. It ends with this process."""
    return Server().url
