"""How long `POST /api/masks/` takes with `grabcut` at 12 megapixels in the embedded server, and what a row costs.

    python -m benchmarks.clicks [--clicks 15]

Further clicks on a photo that is sent with each of them and decoded once: with nothing running, and beside a photo of
24 megapixels that quick-fill paints again and again. Then a photo of 64 x 64, where computing takes no time: a click
with `colour`, in the request's thread, and a description by its colours, which is a row that a worker runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
from skimage import data

from benchmarks.service.measuring import timed
from benchmarks.service.sites import Site, encoded, multipart, ours

CLICKED, PAINTED, TINY = (4000, 3000), (6000, 4000), (64, 64)
MASKS, CAPTIONS = "/api/masks/", "/api/captions/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=15)
    count = parser.parse_args().clicks
    print("| | least | median | slowest | processor time of the server | load |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder)) as site:
        print(f"| click, 12 megapixels | {row(site, MASKS, CLICKED, count)} |", flush=True)
        print(f"| 64 x 64, click | {row(site, MASKS, TINY, count)} |", flush=True)
        print(f"| 64 x 64, description | {row(site, CAPTIONS, TINY, count)} |", flush=True)
        with painting(site):
            print(f"| click, 12 megapixels, beside a painting | {row(site, MASKS, CLICKED, count)} |", flush=True)


def row(site: Site, path: str, size: tuple[int, int], count: int) -> str:
    photo = encoded(cv2.resize(data.coffee(), size, interpolation=cv2.INTER_CUBIC), ".jpg")
    send(site, path, photo, (1, 1))  # decodes the photo
    before = site.processor_seconds()
    places = [(size[0] // 2 + index % 16, size[1] // 2) for index in range(count)]
    times = sorted(timed(lambda place=place: send(site, path, photo, place)) for place in places)  # type: ignore[misc]
    each = (site.processor_seconds() - before) / count
    figures = (times[0], statistics.median(times), times[-1], each)
    return " | ".join(f"{seconds * 1e3:.0f} ms" for seconds in figures) + f" | {os.getloadavg()[0]:.1f}"


def send(site: Site, path: str, photo: bytes, place: tuple[int, int]) -> None:
    boundary = uuid4().hex
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    segmenter = "colour" if len(photo) < 10_000 else "grabcut"
    fields = {"store": "false", "points": json.dumps([place]), "segmenter": segmenter} if path == MASKS else {}
    body = "".join(f'{start}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()).encode()
    body += f'{start}"image"; filename="photo.jpg"\r\n\r\n'.encode() + photo + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, answer = site.ask("POST", path, body=body, headers=headers)
    assert status == 200, answer


@contextmanager
def painting(site: Site) -> Iterator[None]:
    """Paint a large photo again and again."""
    stopped = threading.Event()
    photo = cv2.resize(data.astronaut(), PAINTED, interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(PAINTED[::-1], np.uint8)
    cv2.circle(mask, (PAINTED[0] // 2, PAINTED[1] // 2), 900, 255, -1)
    sent = encoded(photo, ".jpg"), encoded(255 - mask, ".png")

    def paint() -> None:
        while not stopped.is_set():
            status, answer = site.ask("POST", "/api/img2img", **multipart(*sent, "", "png"))  # type: ignore[arg-type]
            assert status == 200, answer

    thread = threading.Thread(target=paint)
    thread.start()
    stopped.wait(5)
    try:
        yield
    finally:
        stopped.set()
        thread.join()


if __name__ == "__main__":
    main()
