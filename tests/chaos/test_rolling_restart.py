"""A restart of one process after the other, behind nginx, while clients that repeat nothing call."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.chaos.apps import QUICK
from tests.chaos.cluster import CLIENTS, RUNNING, SIZE, Cluster, Program, check_ends, cluster_in
from tests.support.installation import Installation

pytestmark = pytest.mark.chaos

STEP_SECONDS = max(0.5, 15 * SIZE)
"""Of six steps of each generation that runs meanwhile."""
DRAIN_SECONDS = 120


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two of the workers together can run all generations."""
    environment = {
        "DREAMLAYER_WORKERS": str(RUNNING // 2 + CLIENTS),
        "CHAOS_STEP_SECONDS": str(STEP_SECONDS),
        "DREAMLAYER_LEASE_SECONDS": "30",
    }
    with cluster_in(tmp_path_factory.mktemp("cluster"), **environment) as built:
        for web in built.webs:  # a call that waits for its result ends there
            web.environment["DREAMLAYER_DRAIN_SECONDS"] = str(DRAIN_SECONDS)
        with built.serving() as serving:
            yield serving


class Calls:
    """What clients call in a loop. A call that fails raises AssertionError."""

    def __init__(self, program: Program, key: str, known: str) -> None:
        """known: the id of a generation that has succeeded."""
        self.program, self.key, self.known = program, key, known
        self.answered: Counter[str] = Counter()

    def wait_for_a_result(self) -> None:
        """Fooocus' call, which is answered with its images, or 503 by a process that stops."""
        images = self.program.images
        body = {
            "inpaint_input_image": images["input_image"],
            "inpaint_mask_image_upload": images["mask"],
            "prompt": QUICK,
        }
        headers = {"X-API-Key": self.key, "Idempotency-Key": uuid4().hex}
        answer = self.program.post("/v1/engine/generate", {**body, "async_process": False}, **headers)
        assert answer["task_status"] == "finished", answer

    def accept(self) -> None:
        self.program.submit(uuid4().hex, QUICK)

    def accept_without_a_key(self) -> None:
        body = {**self.program.images, "prompt": QUICK}
        self.program.post("/api/img2img", body, Prefer="respond-async")

    def list_the_history(self) -> None:
        assert self.program.call("/api/generations/")[0] == 200

    def fetch_a_image(self) -> None:
        assert self.program.call(f"/api/generations/{self.known}/images/0/")[0] == 200

    def are_answered_until(self, enough: threading.Event, call: Callable[[], None]) -> None:
        while not enough.wait(0.1):
            call()
            self.answered[call.__name__] += 1


def restart(process: Installation) -> None:
    assert process.process is not None
    process.process.send_signal(signal.SIGTERM)
    process.process.wait(DRAIN_SECONDS + 60)
    process.start()
    process.wait_until(lambda: process.get("/readyz")[0] == 200)


def test_a_rolling_restart_loses_no_generation_and_fails_no_call(
    cluster: Cluster, photo_png: bytes, mask_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    program = Program(cluster, photo_png, mask_png, repeats=False)
    known = program.submit("known", QUICK)
    other_key = cluster.site.web.manage("create_api_key", "bob@example.com", "--create-user").strip()
    calls, enough = Calls(program, other_key, known), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        keys = [uuid4().hex for _ in range(RUNNING)]
        answers = dict(zip(keys, pool.map(program.submit, keys), strict=True))
        cluster.site.web.wait_until(lambda: cluster.count("running") >= RUNNING)
        kinds = (
            calls.wait_for_a_result,
            calls.accept,
            calls.accept_without_a_key,
            calls.list_the_history,
            calls.fetch_a_image,
        )
        clients = [pool.submit(calls.are_answered_until, enough, kind) for kind in kinds]
        try:
            for process in (*cluster.webs, *cluster.workers):
                restart(process)
        finally:
            enough.set()
        for client in clients:
            client.result()
    cluster.site.web.wait_until(lambda: cluster.count("queued", "running") == 0, seconds=600)
    assert check_ends(cluster, answers, RUNNING) == {"succeeded": RUNNING}
    retried = cluster.site.rows("SELECT max(attempts) FROM inpainting_generation")
    assert retried[0][0] == 1, "a restart counted as an attempt"
    with capsys.disabled():
        print(f"\n{RUNNING} ran during the restart of 5 processes; calls answered: {dict(calls.answered)}")
