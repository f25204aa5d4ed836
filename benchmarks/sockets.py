"""Memory of idle websockets: a real server with and without a thousand sockets of signed-in users.

    python -m benchmarks.sockets [--sockets 1000] [--settle 5]

Each socket receives the events of all of its user's generations; a user has twenty sockets. Memory is the resident set
of the serving child, from /proc (Linux), after the sockets have been idle for `--settle` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.footprint import resident_megabytes, tree_of
from benchmarks.service import ROOT, Site, encoded, free_port, running, scene

GOAL_MEGABYTES = 100
SOCKETS_OF_A_USER = 20
AT_ONCE = 20

PEOPLE = textwrap.dedent(
    """
    import json, sys
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from accounts.models import ApiKey, User
    made = []
    for number in range({count}):
        user = User.objects.create_user(f"user{{number}}@example.com")
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        made.append([session.session_key, ApiKey.issue(user)[1]])
    print(json.dumps(made))
    """
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--settle", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DREAMLAYER_DATA_DIR": folder}
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
        script = PEOPLE.format(count=-(-options.sockets // SOCKETS_OF_A_USER))
        made = subprocess.run(
            [*manage, "shell", "--verbosity", "0", "--command", script],
            env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        people = json.loads(made.stdout.splitlines()[-1])
        port = free_port()
        with running([*manage, "serve", "--port", str(port)], environment, port):
            asyncio.run(measured(port, people, options))


async def measured(port: int, people: list[list[str]], options: argparse.Namespace) -> None:
    (child,) = children_serving(port)
    sessions, key = [session for session, _ in people], people[0][1]
    # What the first of everything costs is not the sockets': a page, a painting, one socket that comes and goes.
    await asyncio.to_thread(warm_up, Site(port, key))
    await (await opened(port, sessions[0])).close()
    await asyncio.sleep(options.settle)
    before = resident_megabytes(child)
    started, sockets = time.perf_counter(), []
    for first in range(0, options.sockets, AT_ONCE):
        batch = range(first, min(first + AT_ONCE, options.sockets))
        sockets += await asyncio.gather(*(opened(port, sessions[index // SOCKETS_OF_A_USER]) for index in batch))
    seconds = time.perf_counter() - started
    await asyncio.sleep(options.settle)
    after = resident_megabytes(child)
    assert all(socket.state.name == "OPEN" for socket in sockets)
    print(f"{options.sockets} sockets opened in {seconds:.1f} s")
    print(f"resident: {before:.1f} MB before, {after:.1f} MB with them")
    print(f"{after - before:.1f} MB more, {(after - before) * 1000 / options.sockets:.1f} KB each")
    print(f"goal: under {GOAL_MEGABYTES} MB for 1000")
    # The sockets work: those of the first user receive the events of a generation.
    await asyncio.to_thread(warm_up, Site(port, key))
    received = await asyncio.wait_for(
        asyncio.gather(*(until_painted(socket) for socket in sockets[:SOCKETS_OF_A_USER])), 60
    )
    print(f"{len(received)} of one user's sockets received all events of a generation")
    for one in sockets:
        one.transport.abort()


def children_serving(port: int) -> list[int]:
    """The child of the `serve` that we started on this port."""
    parents = [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and f"serve\0--port\0{port}\0" in commandline(path)
    ]
    return [pid for parent in parents for pid in tree_of(parent)[1:2]]


def commandline(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def warm_up(site: Site) -> None:
    photo, mask = scene(64)
    site.fill(encoded(photo, ".png"), encoded(255 - mask, ".png"))


async def opened(port: int, session: str) -> ClientConnection:
    headers = {"Origin": f"http://127.0.0.1:{port}", "Cookie": f"sessionid={session}"}
    address = f"ws://127.0.0.1:{port}/ws/generations/"
    return await connect(
        address, additional_headers=headers, compression=None, ping_interval=None, open_timeout=60, proxy=None
    )


async def until_painted(socket: ClientConnection) -> str:
    while (message := json.loads(await socket.recv()))["type"] != "succeeded":
        pass
    return str(message["id"])


if __name__ == "__main__":
    main()
