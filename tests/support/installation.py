"""A separate installation for tests with real processes: a data folder, a port, and its commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.support import scratch
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
RUN_COMMANDS = """
import json, os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "dreamlayer_site.settings"
for command in json.loads(sys.argv[1]):
    execute_from_command_line(["manage.py", *command])
"""


def overriding(**settings: float) -> dict[str, str]:
    """The environment of a process in which these settings of the site have other values."""
    return {"DJANGO_SETTINGS_MODULE": "tests.support.overridden_settings", "OVERRIDDEN_SETTINGS": json.dumps(settings)}


class Installation:
    """A data folder, a port, and the commands of one installation."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = free_port()
        self.root = ROOT
        """Of the program: another version's files may take its place."""
        self.start_prefix: list[str] = []
        self.serve_options: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.key = ""
        """The API key of the user that `migrate_with_key` adds."""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DREAMLAYER_", "DJANGO_"))},
            "DREAMLAYER_DATA_DIR": str(folder),
            "DREAMLAYER_LOG_LEVEL": "WARNING",
            "DREAMLAYER_DIFFUSION_OPENVINO": "off",
            **environment,
        }

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, str(self.root / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manage_all(self, commands: Sequence[Sequence[str]]) -> None:
        """Run several commands in one process: starting one takes longer than most commands."""
        program = [sys.executable, "-c", RUN_COMMANDS, json.dumps(commands)]
        subprocess.run(program, env=self.environment, cwd=ROOT, capture_output=True, check=True)

    def migrate(self) -> None:
        """Copy a database that `manage.py migrate` made once for the test run."""
        shutil.copytree(scratch.built_once("migrated", migrate_database), self.folder, dirs_exist_ok=True)

    def migrate_with_key(self) -> str:
        """Copy a database with one user, also made once for the test run. Return the user's API key."""
        built = scratch.built_once("migrated-with-key", migrate_database_with_key)
        shutil.copytree(built / "data", self.folder, dirs_exist_ok=True)
        self.key = (built / "key").read_text()
        return self.key

    def start(self) -> subprocess.Popen[str]:
        command = [*self.start_prefix, sys.executable, str(self.root / "manage.py"), "serve"]
        command += ["--host", self.host, "--port", str(self.port), *self.serve_options]
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, text=True, start_new_session=True
            )
        return self.process

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[str]]:
        """Start the server, unless it was started already; at the end stop it, or the one started since then."""
        if self.process is None or self.has_ended():
            self.start()
        assert self.process is not None
        try:
            self.wait_until(lambda: self.has_ended() or self.get("/readyz")[0] == 200)
            assert not self.has_ended(), self.log
            yield self.process
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(40)

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def get(
        self, path: str, *, key: str = "", data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=data, headers={"X-API-Key": key, **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def img2img(
        self, key: str, photo_png: bytes, mask_png: bytes, *, prefer: str = "", **fields: object
    ) -> tuple[int, dict[str, object]]:
        """Send the multipart request of the native API. fields: of the form, beside the images."""
        boundary = uuid4().hex
        parts = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value + b"\r\n"
            for name, extra, value in [
                ("image", '; filename="input.png"\r\nContent-Type: image/png', photo_png),
                ("mask", '; filename="mask.png"\r\nContent-Type: image/png', mask_png),
                *((name, "", str(value).encode()) for name, value in {"prompt": "a lawn", **fields}.items()),
            ]
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Prefer": prefer}
        status, body = self.get("/api/img2img", key=key, data=parts + f"--{boundary}--\r\n".encode(), headers=headers)
        return status, json.loads(body)

    @staticmethod
    def wait_until(is_so: Callable[[], object], *, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.1)

    def children_of(self, pid: int) -> list[int]:
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # the process and its children have ended
            return []


def migrate_database(folder: Path) -> None:
    build = "from dreamlayer_site.server.static_files import build_static_files as build; build()"
    Installation(folder).manage_all([["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", build]])


def migrate_database_with_key(folder: Path) -> None:
    installation = Installation(folder / "data")
    installation.migrate()
    (folder / "key").write_text(installation.manage("create_api_key", "alice@example.com", "--create-user").strip())
