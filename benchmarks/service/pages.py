"""C10: HTTP: submission, results, long lists, pages while a hundred callers wait; and the number of queries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from os import environ
from urllib.parse import urlsplit

import cv2
import numpy as np

from benchmarks.service.measuring import Report, figure, timed
from benchmarks.service.sites import ROOT, Site, encoded, scene

WAITING, LISTED = 100, 1000
BARE = "bare view"

MANY = textwrap.dedent(
    """
    from inpainting.models import Generation
    one = Generation.objects.filter(status="succeeded").first()
    Generation.objects.bulk_create([
        Generation(owner=one.owner, source=one.source, mask=one.mask, engine=one.engine, settings=one.settings,
                   status="succeeded", started_at=one.started_at, finished_at=one.finished_at)
        for _ in range({count})
    ])
    """
)

QUERIES = textwrap.dedent(
    """
    import json, sys
    from django.conf import settings
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    settings.ALLOWED_HOSTS = ["*"]
    client = Client(headers={{"X-API-Key": "{key}"}})
    for path in {paths}:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(path)
        print(json.dumps([path, answer.status_code, len(queries)]))
    """
)


def pages(site: Site, report: Report) -> None:
    photo, mask = scene(1024)
    image, black = encoded(photo, ".png"), encoded(255 - mask, ".png")

    def accept() -> None:
        site.fill(image, black, prefer="respond-async")

    report.contest("C10", "POST 1024 png until 202", accept, site.livez, BARE)
    status, body = site.ask("GET", "/api/generations/")
    assert status == 200, body
    small, small_mask = scene(64)
    site.fill(encoded(small, ".png"), encoded(255 - small_mask, ".png"))  # until the queue is empty again
    generation = next(
        result for result in json.loads(site.ask("GET", "/api/generations/")[1])["results"] if result["images"]
    )
    detail, result = f"/api/generations/{generation['id']}/", urlsplit(generation["images"][0]["url"]).path
    report.contest("C10", "GET a result", lambda: got(site, result), site.livez, BARE)
    shell(site, MANY.format(count=LISTED))
    report.contest(
        "C10", f"GET a page of a list of {LISTED:,}", lambda: got(site, "/api/generations/"), site.livez, BARE
    )
    print_queries(site, ["/livez", "/api/generations/", detail, result])
    beside_waiting_callers(site, report)


def got(site: Site, path: str) -> None:
    assert site.ask("GET", path)[0] == 200


def beside_waiting_callers(site: Site, report: Report) -> None:
    """The same page with and without a hundred callers that wait for their generations."""
    photo, mask = scene(512)
    blob = np.zeros_like(mask)
    cv2.ellipse(blob, (256, 256), (110, 80), 0, 0, 360, 255, -1)
    image, black = encoded(photo, ".png"), encoded(255 - blob, ".png")
    alone = figure(timed(lambda: got(site, "/accounts/login/")) for _ in range(30))

    def wait() -> None:
        with suppress(OSError, HTTPException, AssertionError):  # the server stops while callers still wait
            site.fill(image, black)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    time.sleep(1)
    with_one = figure(timed(lambda: got(site, "/accounts/login/")) for _ in range(30))
    report.row("C10", "a page while one caller waits", with_one, alone, "while no caller waits")
    for _ in range(WAITING):
        threading.Thread(target=wait, daemon=True).start()
    time.sleep(10)
    with_many = figure(timed(lambda: got(site, "/accounts/login/")) for _ in range(30))
    report.row("C10", f"a page while {WAITING} callers wait", with_many, alone, "while no caller waits")


def print_queries(site: Site, paths: list[str]) -> None:
    for line in shell(site, QUERIES.format(key=site.key, paths=paths)).splitlines():
        if line.startswith("["):
            path, status, count = json.loads(line)
            name = re.sub("[0-9a-f-]{36}", "<id>", path)
            print(f"| C10 | {count} queries: GET {name} ({status}) | | | | | | | | |", flush=True)


def shell(site: Site, script: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "shell", "--verbosity", "0", "--command", script],
        env={**environ, "DREAMLAYER_DATA_DIR": str(site.folder)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout
