"""The process is killed while it sends the ZIP of a batch, or everything of a user: both can be had again."""

from __future__ import annotations

import io
import json
import os
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from tests.conftest import png
from tests.support.installation import Installation

pytestmark = pytest.mark.chaos

SIDE, COUNT = 1200, 4
"""Of the photos: so much does not fit into the buffers between server and client."""
PART_BYTES = 1 << 20
SIGN_IN = """
import time
from django.test import Client
from accounts.models import User
client = Client()
client.force_login(User.objects.get())
session = client.session
session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
session.save()
print(session.session_key)
"""
"""Prints the key of the session of a browser in which the only user has just entered the password."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("site"), DJANGO_SETTINGS_MODULE="tests.chaos.settings")
    installation.migrate_with_key()
    with installation.serving():
        yield installation


@pytest.fixture(scope="module")
def batch(site: Installation) -> str:
    """The address of a batch, all of which has succeeded."""
    noise = np.random.default_rng(5)
    photos = [png(noise.integers(0, 255, (SIDE, SIDE, 3), np.uint8)) for _ in range(COUNT)]
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[100:140, 100:140] = 0
    body = {
        "images": [b64encode(photo).decode() for photo in photos],
        "masks": [b64encode(png(mask)).decode()],
        "prompt": "",
    }
    headers = {"Content-Type": "application/json"}
    status, answer = site.get("/api/batches/", key=site.key, data=json.dumps(body).encode(), headers=headers)
    assert status == 202, answer
    url = f"/api/batches/{json.loads(answer)['id']}/"

    def have_succeeded() -> bool:
        items = json.loads(site.get(url, key=site.key)[1])["items"]
        return all(item["status"] == "succeeded" for item in items)

    site.wait_until(have_succeeded)
    return url


def download(site: Installation, path: str, headers: dict[str, str], then: Callable[[], None]) -> tuple[bytes, str]:
    """Return what arrives of a file, and its ETag. then: called after the first PART_BYTES."""
    with closing(HTTPConnection(site.host, site.port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            assert answer.status in (200, 206), answer.read()
            received = answer.read(PART_BYTES)
            then()
            try:
                while part := answer.read(PART_BYTES):
                    received += part
            except (OSError, HTTPException) as error:
                received += getattr(error, "partial", b"")
            return received, answer.headers["ETag"] or ""


def kill_child(site: Installation) -> None:
    """And wait until its successor answers."""
    assert site.process is not None
    (child,) = site.children_of(site.process.pid)
    os.kill(child, signal.SIGKILL)
    site.wait_until(lambda: site.children_of(site.process.pid) not in ([], [child]))  # type: ignore[union-attr]
    site.wait_until(lambda: site.get("/readyz")[0] == 200)


def leftovers(site: Installation) -> list[Path]:
    return [path for path in (site.folder / "tmp").rglob("*") if path.is_file()]


def names_in(content: bytes) -> list[str]:
    """The names in a whole ZIP."""
    archive = ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive.namelist()


def test_the_results_of_a_batch_can_be_had_after_a_kill_in_their_middle(site: Installation, batch: str) -> None:
    headers = {"X-API-Key": site.key}
    cut, _ = download(site, f"{batch}results.zip", headers, then=lambda: kill_child(site))
    with pytest.raises(Exception, match=r"not a zip file"):  # so that no client takes it for whole
        names_in(cut)
    assert not leftovers(site)
    whole, _ = download(site, f"{batch}results.zip", headers, then=lambda: None)
    assert len(names_in(whole)) == COUNT + 1


@pytest.mark.usefixtures("batch")
def test_an_export_is_resumed_after_a_kill_in_its_middle(site: Installation) -> None:
    browser = {"Cookie": "sessionid=" + site.manage("shell", "--verbosity", "0", "-c", SIGN_IN).strip()}
    received, etag = download(site, "/account/export.zip", browser, then=lambda: kill_child(site))
    assert not leftovers(site)
    resuming = {**browser, "Range": f"bytes={len(received)}-", "If-Range": etag}
    rest, _ = download(site, "/account/export.zip", resuming, then=lambda: None)
    assert rest
    names = names_in(received + rest)
    assert sum(name.endswith(".png") for name in names) >= 2 * COUNT  # sources and results
