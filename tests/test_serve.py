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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """A data folder, a port, and the commands of one installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DREAMLAYER_", "DJANGO_"))},
            "DREAMLAYER_DATA_DIR": str(folder),
            "DREAMLAYER_LOG_LEVEL": "WARNING",
        }

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(self.port)]
        with (self.folder / "serve.log").open("a") as log:
            server = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, text=True, start_new_session=True
            )
        try:
            self.wait_until(lambda: self.get("/readyz")[0] == 200)
            yield server
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
                server.wait(40)

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def get(
        self, path: str, *, key: str = "", data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=data, headers={"X-API-Key": key, **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def img2img(
        self, key: str, photo_png: bytes, mask_png: bytes, *, prefer: str = ""
    ) -> tuple[int, dict[str, object]]:
        """The published multipart request, written by hand."""
        boundary = uuid4().hex
        parts = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value + b"\r\n"
            for name, extra, value in [
                ("image", '; filename="input.png"\r\nContent-Type: image/png', photo_png),
                ("mask", '; filename="mask.png"\r\nContent-Type: image/png', mask_png),
                ("prompt", "", b"a lawn"),
            ]
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Prefer": prefer}
        status, body = self.get("/api/img2img", key=key, data=parts + f"--{boundary}--\r\n".encode(), headers=headers)
        return status, json.loads(body)

    @staticmethod
    def wait_until(is_so: Callable[[], object], *, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.1)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    installation = Installation(tmp_path)
    installation.manage("migrate", "--verbosity", "0")
    return installation


@pytest.fixture
def key(installation: Installation) -> str:
    return installation.manage("create_api_key", "alice@example.com", "--create-user").strip()


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def test_a_program_paints_through_real_workers(
    installation: Installation, key: str, photo_png: bytes, mask_png: bytes
) -> None:
    with installation.serving():
        status, said = installation.img2img(key, photo_png, mask_png)
        assert (status, said["status"]) == (200, "success")
        link = said["images"][0]  # type: ignore[index]
        with urllib.request.urlopen(link, timeout=20) as answer:  # noqa: S310
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
        (child,) = children_of(server.pid)
        os.kill(child, signal.SIGKILL)
        for said in accepted:
            url = str(said["url"])
            installation.wait_until(
                lambda url=url: b'"succeeded"' in installation.get(url, key=key)[1]  # type: ignore[misc]
            )
        assert server.poll() is None
        assert children_of(server.pid) != [child]


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


def test_it_stops_cleanly_when_told(installation: Installation) -> None:
    with installation.serving() as server:
        (child,) = children_of(server.pid)
        os.killpg(server.pid, signal.SIGINT)  # as Ctrl-C does: to both
        assert server.wait(40) == 0
        assert not Path(f"/proc/{child}").exists()
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
