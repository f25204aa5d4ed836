"""A site of several processes, each with a data folder of its own, on servers that the tests start."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from tests.support.installation import ROOT, Installation


class Site:
    """One web process, and the other processes that a test starts. The URLs are those of its servers.

    redis_url: of database 0, the broker; the channel layer uses 1. root: of the version of the program.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str,
        s3_url: str,
        database_url: str,
        environment: Mapping[str, str] | None = None,
        root: Path = ROOT,
    ) -> None:
        self.folder, self.root = folder, root
        self.environment = {
            "DREAMLAYER_DATABASE_URL": database_url,
            "DREAMLAYER_BROKER_URL": redis_url,
            "DREAMLAYER_CHANNEL_URL": redis_url.replace("/0", "/1"),
            "DREAMLAYER_STORAGE_URL": s3_url,
            "DREAMLAYER_SECRET_KEY": "of all processes",
            "DREAMLAYER_LEASE_SECONDS": "4",
            "DREAMLAYER_LOG_LEVEL": "INFO",
            **(environment or {}),
        }
        self.web = self.process("web")
        self.web.manage("migrate", "--verbosity", "0")
        self.key = self.web.manage("create_api_key", "alice@example.com", "--create-user").strip()

    def process(self, role: str, *options: str, **environment: str) -> Installation:
        """A process of that role with a data folder of its own, as on another machine."""
        folder = self.folder / f"{role}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        installation = Installation(folder, **{**self.environment, **environment})
        installation.serve_options = ["--role", role, *options]
        installation.root = self.root
        return installation

    @contextmanager
    def serving(self, *others: Installation) -> Iterator[list[subprocess.Popen[str]]]:
        """Start the web process and the others, all at once."""
        with ExitStack() as stack:
            for process in (self.web, *others):
                process.start()
            yield [stack.enter_context(process.serving()) for process in (self.web, *others)]

    def has_succeeded(self, url: object) -> bool:
        return b'"succeeded"' in self.web.get(str(url), key=self.key)[1]

    def paint(self, photo_png: bytes, mask_png: bytes) -> None:
        """Send a request that is answered with its result."""
        status, body = self.web.img2img(self.key, photo_png, mask_png)
        assert (status, body.get("status")) == (200, "success"), body

    def accept(self, photo_png: bytes, mask_png: bytes) -> str:
        """Send a request; return the path of its generation."""
        status, body = self.web.img2img(self.key, photo_png, mask_png, prefer="respond-async")
        assert status == 202, body
        return str(body["url"])

    def wait_for_success(self, url: str) -> None:
        self.web.wait_until(lambda: self.has_succeeded(url))

    def all_succeed_at_the_first_attempt(self, urls: Collection[str]) -> bool:
        """Wait for all; return whether no second attempt or crash was counted, and each has one result."""
        for url in urls:
            self.wait_for_success(url)
        counts = "SELECT DISTINCT attempts, crashes, run_alone FROM inpainting_generation WHERE id = ANY(%s)"
        images = (
            "SELECT count(*), count(DISTINCT generation_id) FROM inpainting_generatedimage "
            "WHERE generation_id = ANY(%s)"
        )
        every = len(urls)
        return self.rows(counts, ids(urls)) == [(1, 0, False)] and self.rows(images, ids(urls)) == [(every, every)]

    def rows(self, query: LiteralString, *parameters: object) -> list[Any]:
        with psycopg.connect(self.environment["DREAMLAYER_DATABASE_URL"]) as connection:
            return connection.execute(query, parameters).fetchall()


def ids(urls: Iterable[str]) -> list[UUID]:
    """The ids of the generations at these paths."""
    return [UUID(url.strip("/").rpartition("/")[2]) for url in urls]
