"""Faults of the machine: a killed process while it sends, and a data folder that cannot be written."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import pytest

from dreamlayer_site.server import supervisor
from tests.attacks.clients import large_archive
from tests.attacks.measurement import MB
from tests.support.installation import ROOT, Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]


def test_a_killed_server_leaves_an_archive_visibly_incomplete(
    server: Installation, server_key: str, photo_png: bytes, mask_png: bytes
) -> None:
    path = large_archive(server, server_key, photo_png, mask_png, size=30 * MB)
    assert server.process is not None
    (child,) = server.children_of(server.process.pid)
    client = HTTPConnection(server.host, server.port, timeout=20)
    client.request("GET", path, headers={"X-API-Key": server_key})
    response = client.getresponse()
    response.read(MB)
    os.kill(child, signal.SIGKILL)
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        response.read()
    client.close()
    server.wait_until(lambda: server.get("/readyz")[0] == 200)
    archive = zipfile.ZipFile(io.BytesIO(server.get(path, key=server_key)[1]))
    assert archive.testzip() is None


@pytest.fixture
def ordinary_rights(tmp_path: Path) -> Iterator[list[str]]:
    """The prefix of a command that runs it without root's right to write to every file."""
    if os.geteuid() != 0:
        yield []
    elif shutil.which("setpriv"):
        yield ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    else:
        pytest.skip("root may write to every folder, and there is no setpriv")


def test_a_read_only_data_folder_ends_the_server_with_a_message(tmp_path: Path, ordinary_rights: list[str]) -> None:
    installation = Installation(tmp_path / "var")
    installation.migrate()
    installation.manage("check")  # creates the secret key
    installation.folder.chmod(0o500)
    command = [*ordinary_rights, sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(installation.port)]
    done = subprocess.run(
        command, env=installation.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == supervisor.INVALID_SETTINGS
    assert f"The data folder {installation.folder} cannot be written: Permission denied." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_becomes_read_only_is_reported(
    tmp_path: Path, ordinary_rights: list[str], photo_png: bytes, mask_png: bytes
) -> None:
    installation = Installation(tmp_path / "var")
    installation.migrate()
    key = installation.manage("create_api_key", "alice@example.com", "--create-user").strip()
    installation.start_prefix = ordinary_rights
    images = installation.folder / "pictures"
    with installation.serving():
        assert installation.img2img(key, photo_png, mask_png)[0] == 200
        for path in images.rglob("*"):
            path.chmod(0o500 if path.is_dir() else 0o400)
        images.chmod(0o500)
        time.sleep(1)  # /readyz checks once a second
        assert json.loads(installation.get("/readyz")[1])["storage"] == "cannot be written"
        status, body = installation.img2img(key, photo_png, mask_png)
        assert (status, body["code"]) == (503, "storage_read_only")
        assert str(installation.folder) not in str(body)
        for path in [images, *images.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
        assert installation.img2img(key, photo_png, mask_png)[0] == 200
        installation.wait_until(lambda: installation.get("/readyz")[0] == 200)
