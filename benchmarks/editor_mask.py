"""The editor's mask in a browser: painting, lifting the brush, undo and redo on a photo of 24 megapixels.

    python -m benchmarks.editor_mask [--width 6000] [--height 4000] [--sizes 40,200,2000] [--json FILE]

Needs Chromium, found as tests/browser does. Each row is measured for the editor's own modules, which draw tiles in a
worker, and for one canvas of the whole mask whose operations are all drawn again for each change. A page of
1280 x 900 pixels shows the whole photo; 40 strokes are drawn before. In milliseconds, median and worst:

- thread: the page's thread, per event: its handler, the worker's answer and the painting of the next frame;
- drawn: from the event until the pixels are on the canvas, the worker's time too, without waiting for the frame.

A stroke is drawn at the level of the view; how long the full size takes after the lift is measured beside it.
Then the whole mask is grown and feathered.

Memory: the resident set of the renderer, from /proc (Linux), with the photo decoded.
"""

from __future__ import annotations

import argparse
import http.server
import json
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.processes import resident_megabytes
from tests.browser.conftest import CHROMIUM_FLAGS, chromium_path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "static" / "js"
GOAL_MS = 8
WAYS = ("tiles", "plain")
PAGE = """<!doctype html><meta charset="utf-8">
<style>#surface { position: relative; width: 1280px; height: 900px } canvas { position: absolute; inset: 0 }</style>
<script type="importmap">%s</script>
<div id="surface"><canvas id="photo"></canvas><canvas id="overlay"></canvas></div>"""


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves the page, and the files of the repository."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        names = sorted(path.relative_to(SCRIPTS).with_suffix("").as_posix() for path in SCRIPTS.rglob("*.js"))
        imports = {name: f"/static/js/{name}.js" for name in names}
        body = (PAGE % json.dumps({"imports": imports})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    handler = partial(Files, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def measure(browser: Browser, url: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One way in a page of its own, so that nothing of the other is in its memory."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(0)
    page.goto(url)
    body = """async (settings) => {
        const { countThread, measure } = await import("/benchmarks/editor_mask.js")
        countThread()
        return await measure(settings)
    }"""
    measured: dict[str, Any] = page.evaluate(body, settings)
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [process["id"] for process in processes if process["type"] == "renderer"]
    measured["renderer_mb"] = max(resident_megabytes(renderer) for renderer in renderers)
    context.close()
    return measured


def row(name: str, tiles: dict[str, Any], plain: dict[str, Any]) -> str:
    def milliseconds(measured: dict[str, Any], kind: str) -> str:
        values = [step[kind] for step in measured["results"][name]]
        return f"{statistics.median(values):.1f} ({max(values):.1f})"

    def median(measured: dict[str, Any]) -> float:
        return statistics.median(step["thread"] for step in measured["results"][name])

    cells = [milliseconds(tiles, "thread"), milliseconds(tiles, "drawn"), milliseconds(plain, "thread")]
    return " | ".join([name, *cells, f"{median(plain) / max(0.05, median(tiles)):.1f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=6000)
    parser.add_argument("--height", type=int, default=4000)
    parser.add_argument("--sizes", default="40,200,2000", help="diameters of the brush in pixels of the photo")
    parser.add_argument("--hardness", type=float, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    everything = {}
    with served() as url, sync_playwright() as playwright:
        path = chromium_path(Path(playwright.chromium.executable_path))
        for size in map(int, options.sizes.split(",")):
            found = {}
            for way in WAYS:
                browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
                settings = {
                    "width": options.width,
                    "height": options.height,
                    "size": size,
                    "hardness": options.hardness,
                }
                found[way] = measure(browser, url, {**settings, "way": way})
                browser.close()
            everything[size] = found
            tiles, plain = found["tiles"], found["plain"]
            print(f"\nBrush of {size} pixels, photo of {options.width} x {options.height}, goal {GOAL_MS} ms\n")
            print("event | thread | drawn | whole canvas: thread | ratio of the threads")
            print("---|---|---|---|---")
            for name in ("move", "lift", "undo", "redo"):
                print(row(name, tiles, plain))
            print(f"after a lift, until the stroke is drawn at full size: {tiles['whole']:.0f} ms")
            for name, milliseconds in tiles["adjustments"].items():
                print(f"{name} pixels: {milliseconds:.0f} ms")
            for title, measured in found.items():
                print(
                    f"{title}: renderer {measured['renderer_mb']:.0f} MB, snapshots {measured['bytes'] / 2**20:.0f} MB,"
                    f" mask file {measured['png']['milliseconds']:.0f} ms, {measured['png']['bytes'] / 1000:.0f} KB"
                )
    if options.json:
        options.json.write_text(json.dumps(everything))


if __name__ == "__main__":
    main()
