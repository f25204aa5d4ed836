"""The walks of a newcomer in Chromium: seconds from opening the page until each step is done.

    python -m benchmarks.walks [--repeats 3]

- sample: open the first page, paint over the rocket of the sample photo, press Remove (goal: 5 s);
- own photo: open the first page, choose a photo of 1280 x 853 pixels, sign up, paint over a part, press Remove
  (goal: 10 s);
- large: in the editor, open a photo of 6000 x 4000 pixels and cover it by six strokes of the largest brush.

The script does not wait between its steps, so these are the seconds that the pages and the server take. Each repeat
starts a new server and a new browser; "first" is the walk directly after that. Processor seconds are those of all
processes of the server, and of the browser.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from skimage import data

from benchmarks.processes import processor_seconds, tree_of
from tests.browser.conftest import CHROMIUM_FLAGS, PATIENCE_MS, chromium_path, sign_up
from tests.browser.walks import Done, cover_large_photo, erase_from_own_photo, erase_from_sample, large_photo
from tests.support.installation import Installation

Walk = Callable[[Page, Done], None]
Row = tuple[str, str]
"""Names of a walk and of one of its steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    expect.set_options(timeout=PATIENCE_MS)
    measured: dict[Row, list[tuple[float, float, float]]] = {}
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as (site, server, browser):
            for name, walk in walks(Path(folder)).items():
                for row, values in measure(browser, site, server, walk, name).items():
                    measured.setdefault(row, []).append(values)
    print(f"load average after: {os.getloadavg()[0]:.1f}\n")
    print("walk | until | seconds: median (worst) | processor of the server | of the browser")
    print("---|---|---|---|---")
    for (name, step), all_values in measured.items():
        seconds, of_server, of_browser = zip(*all_values, strict=True)
        cells = f"{statistics.median(of_server):.1f} | {statistics.median(of_browser):.1f}"
        print(f"{name} | {step} | {statistics.median(seconds):.1f} ({max(seconds):.1f}) | {cells}")


def walks(folder: Path) -> dict[str, Walk]:
    own, large = folder / "own.jpg", large_photo(folder / "large.jpg")
    Image.fromarray(data.astronaut()).resize((1280, 853)).save(own, quality=90)

    def cover(page: Page, done: Done) -> None:
        cover_large_photo(page, large, done=done)

    return {
        "sample, first": lambda page, done: erase_from_sample(page, done=done),
        "sample": lambda page, done: erase_from_sample(page, done=done),
        "own photo, first": lambda page, done: erase_from_own_photo(page, own, done=done),
        "own photo": lambda page, done: erase_from_own_photo(page, own, done=done),
        "large": cover,
    }


@contextmanager
def started(folder: Path) -> Iterator[tuple[Installation, int, Browser]]:
    site = Installation(folder / "site")
    site.folder.mkdir()
    site.migrate()
    with site.serving() as server, sync_playwright() as playwright:
        path = chromium_path(Path(playwright.chromium.executable_path))
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield site, server.pid, browser
        browser.close()


def measure(browser: Browser, site: Installation, server: int, walk: Walk, name: str) -> dict[Row, Any]:
    """Seconds until each step, and the processor seconds of server and browser until then."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    if name == "large":
        sign_up(page)
    found: dict[Row, Any] = {}
    tools = browser.new_browser_cdp_session()

    def now() -> tuple[float, float, float]:
        processes = tools.send("SystemInfo.getProcessInfo")["processInfo"]
        of_browser = sum(process["cpuTime"] for process in processes)
        return time.perf_counter(), sum(map(processor_seconds, tree_of(server))), of_browser

    before = now()

    def done(step: str) -> None:
        found[name, step] = tuple(after - start for after, start in zip(now(), before, strict=True))

    walk(page, done)
    context.close()
    return found


if __name__ == "__main__":
    main()
