"""C8: the bell between accepting and painting, beside a bare Celery; and how many pictures are accepted a second."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

from benchmarks.service.measuring import Report, timed
from benchmarks.service.sites import Site, encoded, scene

TRANSPORT = "dreamlayer_site.embedded_broker:Transport"
ACCEPTED, CALLERS = 200, 4


class Bell:
    """A Celery application with a worker on a thread of this process, and one task that says that it was called."""

    def __init__(self, name: str, broker: str) -> None:
        self.rung = threading.Event()
        self.app = Celery(name, broker=broker, set_as_current=False)
        self.app.conf.update(
            task_default_queue=name,
            task_ignore_result=True,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            broker_transport_options={"polling_interval": 0.05},
        )

        def begun() -> None:  # Celery takes functions, no methods
            self.rung.set()

        self.task = self.app.task(name=f"{name}.ring")(begun)
        self.app.finalize()
        worker = self.app.WorkController(
            pool_cls="threads",
            concurrency=1,
            queues=[name],
            hostname=name,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        threading.Thread(target=worker.start, daemon=True).start()

    def enqueue(self) -> None:
        self.task.delay()

    def ring(self) -> None:
        """Until its task has begun."""
        self.rung.clear()
        self.task.delay()
        assert self.rung.wait(30)

    def ring_often(self) -> None:
        for _ in range(20):
            self.ring()


def queue(site: Site, report: Report) -> None:
    TRANSPORT_ALIASES["embedded"] = TRANSPORT
    ours, bare = Bell("ours", "embedded://here"), Bell("bare", "memory://")
    what = "bare Celery, memory://, looking every 50 ms"
    for bell in (ours, bare):
        bell.ring()
    report.contest("C8", "20 times: enqueue until the task begins", ours.ring_often, bare.ring_often, what)
    report.contest("C8", "enqueue alone", ours.enqueue, bare.enqueue, what)
    accepting(site, report)


def accepting(site: Site, report: Report) -> None:
    photo, mask = scene(64)
    image, black = encoded(photo, ".png"), encoded(255 - mask, ".png")
    site.fill(image, black)
    started = time.perf_counter()

    def accept(_: int) -> float:
        return timed(lambda: site.fill(image, black, prefer="respond-async"))

    with ThreadPoolExecutor(CALLERS) as threads:
        each = list(threads.map(accept, range(ACCEPTED)))
    rate = ACCEPTED / (time.perf_counter() - started)
    p99 = sorted(each)[int(0.99 * ACCEPTED)]
    report.row(
        "C8",
        f"accept 64x64, {CALLERS} callers: {rate:.0f} a second, p99 {p99 * 1e3:.0f} ms (goal: 100, 150 ms)",
        each,
        [timed(site.livez) for _ in range(50)],
        "the same server's bare answer, one caller",
    )
    site.fill(image, black)  # until the queue is empty again
