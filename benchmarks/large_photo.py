"""Fill a photo of 24 megapixels from the command line: time and memory, also of another checkout and of plain Telea.

    .venv/bin/python -m benchmarks.large_photo [--rounds 3] [--before DIR]

From starting the process to the written PNG. Telea is a script that reads the JPEG, calls OpenCV and writes a PNG. DIR
is another checkout, for example of the last release (git worktree add DIR v1.0).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quick_fill import ROOT

WIDTH, HEIGHT = 6000, 4000
TELEA = """
import sys, cv2
image, mask = cv2.imread(sys.argv[1]), cv2.imread(sys.argv[2], cv2.IMREAD_GRAYSCALE)
cv2.imwrite(sys.argv[3], cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA))
"""
USAGE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""
"""A small process of its own: the peak memory of a child begins with that of its parent (getrusage(2))."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--before", type=Path, help="another checkout to compare with")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "photo.jpg"
        cv2.imwrite(str(image), photo(), [cv2.IMWRITE_JPEG_QUALITY, 90])
        print("| mask | method | seconds | processor | memory |\n|---|---|---|---|---|", flush=True)
        for title, mask in masks().items():
            mask_path = folder / f"{title.partition(' ')[0]}.png"
            cv2.imwrite(str(mask_path), mask)
            files = [str(image), str(mask_path)]
            checkouts = {"quick-fill": ROOT} | ({"before": options.before.resolve()} if options.before else {})
            settings = ["--mask-polarity", "white_repaints", "--engine", "quick-fill", "--seed", "1"]
            commands = {
                method: [sys.executable, f"{checkout}/manage.py", "inpaint", *files, "-o", f"{name}/out.png", *settings]
                for method, checkout in checkouts.items()
            }
            commands["Telea"] = [sys.executable, "-c", TELEA, *files, f"{name}/out.png"]
            runs: dict[str, list[tuple[float, float, float]]] = {method: [] for method in commands}
            for _ in range(options.rounds):
                for method, command in commands.items():
                    runs[method].append(measured(command))
            title += f", {100 * np.count_nonzero(mask) / mask.size:.1f} %"
            for method, figures in runs.items():
                wall, busy, memory = (statistics.median(column) for column in zip(*figures, strict=True))
                print(f"| {title} | {method} | {wall:.1f} s | {busy:.1f} s | {memory:.0f} MB |", flush=True)
    print(f"Load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}.")


def measured(command: list[str]) -> tuple[float, float, float]:
    """(seconds, processor seconds, peak memory in MB) of one process."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", USAGE, *command], capture_output=True, text=True, check=True)
    busy, kilobytes = map(float, done.stdout.split())
    return time.perf_counter() - start, busy, kilobytes / 1024


def photo() -> NDArray[np.uint8]:
    """scikit-image's cup of coffee, enlarged, with grain; BGR."""
    import skimage.data

    enlarged = cv2.resize(skimage.data.coffee(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 8, (HEIGHT // 2, WIDTH // 2)).astype(np.float32)
    grain = cv2.resize(noise, (WIDTH, HEIGHT))
    return cv2.cvtColor(np.clip(enlarged + grain[:, :, None], 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR)


def masks() -> dict[str, NDArray[np.uint8]]:
    strokes, one = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2))
    rng = np.random.default_rng(0)
    along = np.arange(-600, 601, 50)
    for _ in range(6):
        x, y, angle = rng.integers(600, WIDTH - 600), rng.integers(600, HEIGHT - 600), 2 * np.pi * rng.random()
        bent = angle + along / 900
        points = np.stack([x + along * np.cos(bent), y + along * np.sin(bent)], axis=1).astype(np.int32)
        cv2.polylines(strokes, [points], False, 255, 84)
    cv2.ellipse(one, (3900, 2800), (820, 606), 20, 0, 360, 255, -1)
    return {"six strokes": strokes, "one object": one}


if __name__ == "__main__":
    main()
