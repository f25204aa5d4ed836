"""Time from `manage.py serve` to the first page, and the memory of the idle and the painting server.

    python benchmarks/footprint.py [--repeats 5]

The baseline is a bare Django project on Daphne with nothing installed in it, started the same way in the same run.
Memory is the resident set of parent and child together, from /proc (Linux).
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BARE = textwrap.dedent(
    """
    import django.conf, django.core.asgi, django.http, django.urls
    django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
    urlpatterns = [django.urls.path("livez", lambda request: django.http.HttpResponse("ok"))]
    application = django.core.asgi.get_asgi_application()
    """
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'workload':42} {'median':>8} {'least':>8} {'spread':>8}")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DREAMLAYER_DATA_DIR": folder, "PYTHONPATH": folder}
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
        Path(folder, "bare.py").write_text(BARE)
        serve = [*manage, "serve", "--port", "8765"]
        bare = [sys.executable, "-m", "daphne", "-p", "8766", "bare:application"]
        ours, peers, idle = [], [], []
        for _ in range(repeats):  # alternating, so that load from outside affects both
            seconds, megabytes = first_page(serve, "http://127.0.0.1:8765/accounts/login/", environment)
            ours.append(seconds)
            idle.append(megabytes)
            peers.append(first_page(bare, "http://127.0.0.1:8766/livez", environment)[0])
    row("first page, seconds (goal: under 3)", ours)
    row("first answer of bare Django on Daphne, s", peers)
    row("idle memory, MB (goal: under 250)", idle)
    print(f"first page: {statistics.median(ours) / statistics.median(peers):.2f} times the bare start")


def first_page(command: list[str], url: str, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds until `url` answers 200, and the process tree's resident megabytes shortly after."""
    started = time.perf_counter()
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not answers(url):
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        time.sleep(1)
        return seconds, sum(resident_megabytes(pid) for pid in tree_of(server.pid))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def tree_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree_of(int(child)))]


def resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(name: str, values: list[float]) -> None:
    print(f"{name:42} {statistics.median(values):8.2f} {min(values):8.2f} {max(values) - min(values):8.2f}")


if __name__ == "__main__":
    main()
