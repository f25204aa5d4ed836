"""The error of the run-time estimate: mixed images and masks through the real queue, the eta at submission against
the measured time.

    python -m benchmarks.estimate [--past 24] [--requests 60] [--seed 1] [--json FILE]

The first `--past` images are painted one by one and only give it a past. Then come bursts of one to eight, so that
most have others before them. The error of one is |eta - truth| / truth, where the truth is from accepted to finished.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from benchmarks.service import Site, encoded, ours

GOAL = 0.3
PHOTOS = (data.astronaut, data.chelsea, data.coffee, data.rocket)
BURSTS = (1, 1, 2, 3, 5, 8)


@dataclass(frozen=True)
class Sample:
    """The estimate for one image and the measured time, in seconds."""

    position: int
    eta: float
    truth: float

    @property
    def error(self) -> float:
        return abs(self.eta - self.truth) / self.truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--past", type=int, default=24)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the samples to this file")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder)) as site:
        for _ in range(options.past):
            measured(site, [scene(rng)])
        samples: list[Sample] = []
        while len(samples) < options.requests:
            most = min(int(rng.choice(BURSTS)), options.requests - len(samples))
            samples += measured(site, [scene(rng) for _ in range(most)])
    if options.json:
        options.json.write_text(json.dumps([vars(sample) for sample in samples]))
    row("all", samples)
    row("alone or first in line", [sample for sample in samples if sample.position == 1])
    row("with others before them", [sample for sample in samples if sample.position > 1])
    print(f"goal: a median under {GOAL:.0%}")


def measured(site: Site, scenes: list[tuple[bytes, bytes]]) -> list[Sample]:
    """Submit all at once and wait for the last. Generations without an estimate are left out."""
    answers = [json.loads(site.fill(image, mask, prefer="respond-async")) for image, mask in scenes]
    samples = []
    for answer in answers:
        ended = until_ended(site, answer["url"])
        truth = at(ended["finished_at"]) - at(ended["created_at"])
        if answer["eta"] is not None:
            samples.append(Sample(answer["position"], answer["eta"], truth))
    return samples


def until_ended(site: Site, url: str) -> dict[str, str]:
    while True:
        generation: dict[str, str] = json.loads(site.ask("GET", url)[1])
        if generation["status"] not in ("queued", "running"):
            assert generation["status"] == "succeeded", generation
            return generation
        time.sleep(0.1)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def scene(rng: np.random.Generator) -> tuple[bytes, bytes]:
    """A photo of 256 to 1280 pixels a side, and for the API a mask with an object or with scratches in it."""
    side = int(np.exp(rng.uniform(np.log(256), np.log(1280))))
    photo = rng.choice(PHOTOS)()
    image = cv2.resize(photo, (side, int(side * photo.shape[0] / photo.shape[1])), interpolation=cv2.INTER_AREA)
    mask = np.full(image.shape[:2], 255, np.uint8)
    if rng.random() < 0.6:
        axes = (side * rng.uniform(0.04, 0.2, 2)).astype(int)
        middle = (np.array(mask.shape[::-1]) * rng.uniform(0.3, 0.7, 2)).astype(int)
        cv2.ellipse(mask, middle.tolist(), axes.tolist(), 0, 0, 360, 0, -1)
    else:
        for _ in range(int(rng.integers(2, 9))):
            ends = rng.integers(0, mask.shape[::-1], (2, 2))
            cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 0, int(rng.integers(1, 4)))
    return encoded(image, ".jpg" if rng.random() < 0.5 else ".png"), encoded(mask, ".png")


def row(name: str, samples: list[Sample]) -> None:
    errors = [sample.error for sample in samples]
    if len(errors) > 1:
        median, quarter = statistics.median(errors), statistics.quantiles(errors, n=4)[2]
        print(f"{name:26} {len(errors):4} images   median error {median:6.1%}   three quarters under {quarter:6.1%}")


if __name__ == "__main__":
    main()
