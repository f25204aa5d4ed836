"""`manage.py serve` with real processes: it paints, it comes back, it stops, it goes on where it was."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.installation import ROOT, Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation(tmp_path)
    installation.manage("migrate", "--verbosity", "0")
    return installation


@pytest.fixture
def key(installation: Installation) -> str:
    return installation.manage("create_api_key", "alice@example.com", "--create-user").strip()


def test_a_program_paints_through_real_workers(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    with installation.serving():
        status, said = installation.img2img(key, photo_png, mask_png)
        assert (status, said["status"]) == (200, "success")
        link = said["images"][0]  # type: ignore[index]
        with urllib.request.urlopen(link, timeout=20) as answer:
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
        assert installation.get("/livez")[0] == 200
        page = installation.get("/accounts/login/")[1].decode()
        style = re.search(r'href="(/static/css/[^"]+)"', page)
        assert style
        assert installation.get(style[1])[0] == 200


def test_the_child_is_started_again_and_what_it_left_goes_on(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    with installation.serving() as server:
        accepted = [installation.img2img(key, photo_png, mask_png, prefer="respond-async")[1] for _ in range(6)]
        (child,) = installation.children_of(server.pid)
        os.kill(child, signal.SIGKILL)
        for said in accepted:
            url = str(said["url"])
            installation.wait_until(
                lambda url=url: b'"succeeded"' in installation.get(url, key=key)[1]  # type: ignore[misc]
            )
        assert server.poll() is None
        assert installation.children_of(server.pid) != [child]


def test_the_child_ends_with_its_parent_and_the_next_server_goes_on(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    with installation.serving() as server:
        said = installation.img2img(key, photo_png, mask_png, prefer="respond-async")[1]
        server.kill()
        server.wait()
        installation.wait_until(lambda: installation.get("/livez")[0] == 0)
    with installation.serving():
        installation.wait_until(lambda: b'"succeeded"' in installation.get(str(said["url"]), key=key)[1])


def test_it_stops_cleanly_when_told(installation: Installation, key: str, photo_png: bytes, mask_png: bytes) -> None:
    with installation.serving() as server, ThreadPoolExecutor(4) as callers:
        (child,) = installation.children_of(server.pid)
        for _ in range(40):  # somebody waits for a picture while it stops
            callers.submit(installation.img2img, key, photo_png, mask_png)
        time.sleep(1)
        os.killpg(server.pid, signal.SIGINT)  # as Ctrl-C does: to both
        assert server.wait(20) == 0
        assert not Path(f"/proc/{child}").exists()
        callers.shutdown(cancel_futures=True)
    assert "Traceback" not in installation.log


def test_it_prints_its_address_and_a_link_that_makes_the_administrator(installation: Installation) -> None:
    with installation.serving():
        assert f"http://127.0.0.1:{installation.port}/" in installation.log
        link = re.search(r"http://[^/]+(/setup/\S+/)", installation.log)
        assert link
        assert installation.get(link[1])[0] == 200


def test_a_port_that_is_taken_is_said_plainly(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", installation.port))
        other.listen()
        command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(installation.port)]
        done = subprocess.run(command, env=installation.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{installation.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_body_that_is_too_large_is_refused(installation: Installation, key: str) -> None:
    with installation.serving():
        status, body = installation.get("/api/img2img", key=key, data=b"x" * (64 * 2**20 + 1))
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")


def test_the_secret_key_is_its_owners_alone_and_stays(installation: Installation) -> None:
    path = installation.folder / "secret-key"
    first = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first) > 50
    installation.manage("check")
    assert path.read_text() == first
