"""A PostgreSQL server for the tests, started for one run and removed after it."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, or None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


def start() -> str:
    """Start a server; returns its URL. It ends with this process."""
    folder = binaries()
    if folder is None:
        raise RuntimeError("PostgreSQL is not installed: initdb is neither on the PATH nor under /usr/lib/postgresql")
    data = Path(tempfile.mkdtemp(prefix="dreamlayer-postgres-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # PostgreSQL refuses to run as root; its package made a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(data, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)

    run(str(folder / "initdb"), "-D", str(data), "-A", "trust", "-U", "dreamlayer", "--no-sync")
    control = [str(folder / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log")]
    run(*control, "-o", f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off", "start")

    def stop() -> None:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(data, ignore_errors=True)

    atexit.register(stop)
    return f"postgres://dreamlayer@127.0.0.1:{port}/postgres"
