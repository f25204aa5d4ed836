"""C8: latency of the task message between submission and worker, compared with plain Celery; submissions per second."""

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


class TaskQueue:
    """A Celery application with a worker on a thread of this process, and one task that reports its call."""

    def __init__(self, name: str, broker: str) -> None:
        self.called = threading.Event()
        self.app = Celery(name, broker=broker, set_as_current=False)
        self.app.conf.update(
            task_default_queue=name,
            task_ignore_result=True,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            broker_transport_options={"polling_interval": 0.05},
        )

        def report_call() -> None:  # Celery tasks are functions, not methods
            self.called.set()

        self.task = self.app.task(name=f"{name}.call_task")(report_call)
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

    def call_task(self) -> None:
        """Send a task and wait until it runs."""
        self.called.clear()
        self.task.delay()
        assert self.called.wait(30)

    def call_tasks(self) -> None:
        for _ in range(20):
            self.call_task()


def queue(site: Site, report: Report) -> None:
    TRANSPORT_ALIASES["embedded"] = TRANSPORT
    ours, bare = TaskQueue("ours", "embedded://here"), TaskQueue("bare", "memory://")
    what = "bare Celery, memory://, polling every 50 ms"
    for task_queue in (ours, bare):
        task_queue.call_task()
    report.contest("C8", "20 times: enqueue until the task begins", ours.call_tasks, bare.call_tasks, what)
    report.contest("C8", "enqueue alone", ours.enqueue, bare.enqueue, what)
    submission(site, report)


def submission(site: Site, report: Report) -> None:
    photo, mask = scene(64)
    image, black = encoded(photo, ".png"), encoded(255 - mask, ".png")
    site.fill(image, black)
    started = time.perf_counter()

    def submit(_: int) -> float:
        return timed(lambda: site.fill(image, black, prefer="respond-async"))

    with ThreadPoolExecutor(CALLERS) as threads:
        each = list(threads.map(submit, range(ACCEPTED)))
    rate = ACCEPTED / (time.perf_counter() - started)
    p99 = sorted(each)[int(0.99 * ACCEPTED)]
    report.row(
        "C8",
        f"accept 64x64, {CALLERS} callers: {rate:.0f} a second, p99 {p99 * 1e3:.0f} ms (goal: 100, 150 ms)",
        each,
        [timed(site.livez) for _ in range(50)],
        "the same server's /livez, one caller",
    )
    site.fill(image, black)  # until the queue is empty again
