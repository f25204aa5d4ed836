"""What idle workers ask the database: statements a second and worker, with a broker and without.

    python -m benchmarks.idle_polls [--workers 2] [--seconds 60]

Workers of all queues on a PostgreSQL and a Redis that are started for the run; the statements are those of PostgreSQL's
log. Target: at most 0.5 statements a second and worker beside the heartbeat, while the broker answers.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.support import postgres
from tests.support.scaled_site import Site
from tests.support.services import redis_server

STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)")
HEARTBEAT = re.compile(r'^(UPDATE|SELECT [^(]*FROM) "inpainting_(worker|inferencemodel|lora)"')
"""With the models that the worker tells the others it has."""
SETTLED_SECONDS = 30
"""After the start, in which models are looked for and the first messages are read."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis, ExitStack() as stack:
        server = postgres.Server()
        server.set("log_statement", "'all'")
        Path(folder, "files").mkdir()
        site = Site(Path(folder), redis_url=redis.url, s3_url=f"file://{folder}/files", database_url=server.url)
        for _ in range(options.workers):
            stack.enter_context(site.process("worker", DREAMLAYER_LEASE_SECONDS="60").serving())
        time.sleep(SETTLED_SECONDS)
        report("the broker answers", server, options.workers, options.seconds)
        redis.stop()
        report("the broker is away", server, options.workers, options.seconds)


def report(name: str, server: postgres.Server, workers: int, seconds: int) -> None:
    log = server.data / "log"
    start = log.stat().st_size
    time.sleep(seconds)
    found = Counter(shortened(text) for text in STATEMENT.findall(log.read_text()[start:]))
    beats = sum(count for text, count in found.items() if HEARTBEAT.search(text))
    each = workers * seconds
    print(f"{name}: {(found.total() - beats) / each:.2f} statements a second and worker, heartbeat {beats / each:.2f}")
    for text, count in found.most_common(8):
        print(f"  {count / each:5.2f}  {text[:110]}")


def shortened(text: str) -> str:
    return re.sub(r"'[^']*'", "?", re.sub(r"\s+", " ", text)) or "(a check of a pooled connection)"


if __name__ == "__main__":
    main()
