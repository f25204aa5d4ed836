"""An earlier version of the program, from the history of the checkout, serves while the database is migrated."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import requests

from tests import postgres
from tests.installation import ROOT, Installation
from tests.scaled_site import Site
from tests.services import redis_server, s3_server

pytestmark = pytest.mark.full

MIGRATIONS = "inpainting/migrations"
FIRST_AFTER_THE_RELEASE = "0039_engine_index"
"""The first migration after RELEASED of tests/test_migrations.py."""
NEWEST = max(path.stem for path in (ROOT / MIGRATIONS).glob("0*.py"))
DELETE_ALL = "from accounts.models import User; User.objects.all().delete()"
ERRORS = ("ERROR", "CRITICAL", "Traceback")


def version_before(migration: str, folder: Path) -> Path:
    """The files of the last version without the migration."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout

    try:
        added = git("log", "--diff-filter=A", "--format=%H", "--", f"{MIGRATIONS}/{migration}.py").decode().split()
        archive = git("archive", f"{added[-1]}^")
    except (OSError, subprocess.CalledProcessError, IndexError):
        pytest.skip(f"the checkout has no commit before {migration} (git fetch --unshallow)")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    assert not (folder / MIGRATIONS / f"{migration}.py").exists()
    return folder


@pytest.fixture
def database_url() -> str:
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    return postgres.start()


def delete(installation: Installation, url: str, key: str) -> int:
    """Delete a generation; return the status of reading it afterwards."""
    request = Request(installation.url + url, method="DELETE", headers={"X-API-Key": key})
    with urlopen(request, timeout=60) as answer:
        assert answer.status in (200, 204)
    return installation.get(url, key=key)[0]


def test_the_released_version_accepts_paints_and_deletes_while_the_database_is_migrated_and_afterwards(
    database_url: str, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    (tmp_path / "data").mkdir()
    released = Installation(tmp_path / "data", DREAMLAYER_DATABASE_URL=database_url)
    released.root = version_before(FIRST_AFTER_THE_RELEASE, tmp_path / "released")
    released.manage("migrate", "--verbosity", "0")
    key = released.manage("create_api_key", "alice@example.com", "--create-user").strip()

    def accept() -> str:
        status, body = released.img2img(key, photo_png, mask_png, prefer="respond-async")
        assert status == 202, body
        return str(body["url"])

    def has_succeeded(url: str) -> bool:
        return b'"succeeded"' in released.get(url, key=key)[1]

    with released.serving():
        urls = [accept() for _ in range(6)]
        Installation(tmp_path / "data", DREAMLAYER_DATABASE_URL=database_url).manage("migrate", "--verbosity", "0")
        urls += [accept() for _ in range(2)]
        for url in urls:
            released.wait_until(lambda url=url: has_succeeded(url))  # type: ignore[misc]
        assert [delete(released, url, key) for url in urls] == [404] * len(urls)
        assert released.get("/readyz")[0] == 200
    assert [line for line in released.log.splitlines() if line.startswith(ERRORS)] == []


def select(installation: Installation, key: str, photo_png: bytes) -> None:
    """Accept an analysis of the built-in segmenter."""
    answer = requests.post(
        f"{installation.url}/api/masks/",
        headers={"X-API-Key": key, "Prefer": "respond-async"},
        files={"image": photo_png},
        data={"points": "[[48, 32]]"},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text


def stop(process: Installation) -> None:
    assert process.process is not None
    process.process.terminate()
    process.process.wait(40)


def test_the_documented_order_of_an_upgrade_serves_with_two_versions(
    database_url: str, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    """From the version before the newest migration: migrate, restart the workers, then the web processes."""
    (tmp_path / "site").mkdir()
    earlier = version_before(NEWEST, tmp_path / "earlier")
    with redis_server() as redis, s3_server() as s3:
        site = Site(tmp_path / "site", redis_url=redis.url, s3_url=s3.url, database_url=database_url, root=earlier)
        old_worker = site.process("worker", "--queues", "cpu,hooks")
        with site.serving(old_worker):
            urls = [site.accept(photo_png, mask_png) for _ in range(4)]
            site.root = ROOT
            new_web, new_worker = site.process("web"), site.process("worker", "--queues", "cpu,hooks")
            new_web.manage("migrate", "--verbosity", "0")
            site.paint(photo_png, mask_png)
            with new_worker.serving():
                urls += [site.accept(photo_png, mask_png) for _ in range(4)]
                stop(old_worker)
                site.paint(photo_png, mask_png)
                for url in urls:
                    site.wait_for_success(url)
                with new_web.serving():
                    for web in (site.web, new_web):
                        status, body = web.img2img(site.key, photo_png, mask_png)
                        assert (status, body.get("status")) == (200, "success"), body
                    for url in urls:
                        picture = f"{url}images/0/"
                        assert new_web.get(picture, key=site.key) == site.web.get(picture, key=site.key)
                    assert delete(site.web, urls[0], site.key) == new_web.get(urls[0], key=site.key)[0] == 404
                    assert delete(new_web, urls[1], site.key) == site.web.get(urls[1], key=site.key)[0] == 404
                    select(new_web, site.key, photo_png)
                    assert site.rows("SELECT count(*) FROM inpainting_analysis") == [(1,)]
                    site.web.manage("shell", "-c", DELETE_ALL)
    assert site.rows("SELECT count(*) FROM inpainting_generation") == [(0,)]
    for process in (site.web, old_worker, new_web, new_worker):
        assert [line for line in process.log.splitlines() if line.startswith(ERRORS)] == []
