"""Compare quick-fill with OpenCV's methods, PyPatchMatch and a plain shift-map call: time, memory, a contact sheet.

    .venv/bin/python -m benchmarks.quick_fill [--photos DIR] [--quick] [--sheet FILE]

Each figure comes from a child process: seconds of the call alone, after a small warm-up, and the peak memory during it.
The methods alternate, so that load on the machine affects all of them. There is no quality figure for holes: no metric
was found that ranks the shift-map above Telea, Navier-Stokes and noise on every sample, as human judgement does. Only
scratches have a ground truth.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
Bytes = NDArray[np.uint8]
METHODS = ["telea", "navier-stokes", "pypatchmatch", "shift-map", "quick-fill"]
SHEET = ["telea", "navier-stokes", "shift-map", "quick-fill"]
CELL = 360


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--photos", type=Path, help="a folder of NAME.jpg or .png and NAME_mask.png (white is painted)"
    )
    arguments.add_argument("--quick", action="store_true", help="one round instead of three, no 12-megapixel rows")
    arguments.add_argument("--sheet", type=Path, help="where to write the contact sheet (.jpg or .png)")
    arguments.add_argument("--only", nargs=4, metavar=("METHOD", "IMAGE", "MASK", "OUT"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.only:
        print(json.dumps(measure(*options.only)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f},")
    print(f"Python {platform.python_version()}, OpenCV {cv2.__version__}, {time.strftime('%Y-%m-%d')}\n")
    rounds = 1 if options.quick else 3
    photos = pairs_in(options.photos) if options.photos else default_photos()
    with tempfile.TemporaryDirectory() as folder:
        rows = [table(name, *pair, Path(folder), rounds=rounds) for name, pair in photos.items()]
        sheet = options.sheet or (None if options.photos else ROOT / "docs/extend/quick-fill.jpg")
        if sheet:
            write_sheet(sheet, rows)
            print(f"\n{sheet}\n")
        if not options.photos:
            scratches(Path(folder), rounds=rounds)
            quarters(Path(folder), rounds=rounds)
            if not options.quick:
                large(Path(folder))


def measured(method: str, image: Path, mask: Path, out: Path) -> dict[str, float]:
    """The figures of `measure` from a child process."""
    command = [sys.executable, "-m", "benchmarks.quick_fill", "--only", method, str(image), str(mask), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(method: str, image_path: str, mask_path: str, out_path: str) -> dict[str, float | None]:
    """In the child process: fill once; seconds, processor seconds, peak memory in MB, longest wait between steps."""
    image, mask = read(Path(image_path)), read_mask(Path(mask_path))
    steps: list[float] = []
    fill = fills(steps)[method]
    warm = np.zeros((48, 48), np.uint8)
    warm[14:34, 14:34] = 255
    fill(np.ascontiguousarray(image[:48, :48]), warm)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory (Linux, proc(5))
    steps.clear()
    start, busy = time.perf_counter(), time.process_time()
    out = fill(image, mask)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = int(status["VmHWM"].split()[0]) / 1024
    cv2.imwrite(out_path, cv2.cvtColor(out, cv2.COLOR_RGB2BGR))
    waits = np.diff([start, *steps, start + seconds]) if steps else None
    return {
        "seconds": seconds,
        "busy": busy,
        "memory": memory,
        "wait": None if waits is None else float(waits.max()),
        "steps": len(steps),
        "outside": int(np.count_nonzero((out != image).any(axis=2) & (mask == 0))),
    }


def fills(steps: list[float]) -> dict[str, Callable[[Bytes, Bytes], Bytes]]:
    from benchmarks.plans import planned
    from inpainting.catalog.specs import ModelSpec
    from inpainting.core.geometry import WindowRule
    from inpainting.core.image import CanonicalImage
    from inpainting.core.request import InpaintRequest
    from inpainting.engines.erase.declaration import ERASE
    from inpainting.engines.erase.engine import Erase
    from inpainting.engines.quick_fill.engine import QuickFill
    from tests.weights import cache
    from tests.weights.published import PUBLISHED

    def shift_map(image: Bytes, mask: Bytes) -> Bytes:
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
        out = lab.copy()
        cv2.xphoto.inpaint(lab, 255 - mask, out, cv2.xphoto.INPAINT_SHIFTMAP)
        return cv2.cvtColor(out, cv2.COLOR_Lab2RGB)

    def patch_match(image: Bytes, mask: Bytes) -> Bytes:
        library = importlib.import_module("patchmatch.patch_match")
        return np.asarray(library.inpaint(image, mask, patch_size=5))

    def quick_fill(image: Bytes, mask: Bytes) -> Bytes:
        request = InpaintRequest(CanonicalImage(image), mask)
        plan = planned(request, QuickFill.declaration, WindowRule(0.0))
        (filled,) = QuickFill().inpaint(plan, lambda step: steps.append(time.perf_counter()))
        return filled

    def erase(image: Bytes, mask: Bytes) -> Bytes:
        migan = ModelSpec(slug="migan", label="MI-GAN", family="migan", path=cache.path_of(PUBLISHED["migan"]))
        plan = planned(InpaintRequest(CanonicalImage(image), mask), ERASE, WindowRule(0.0), migan)
        (painted,) = Erase().inpaint(plan, lambda step: None)
        return painted

    return {
        "telea": lambda image, mask: cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA),
        "navier-stokes": lambda image, mask: cv2.inpaint(image, mask, 3, cv2.INPAINT_NS),
        "pypatchmatch": patch_match,
        "shift-map": shift_map,
        "quick-fill": quick_fill,
        "erase": erase,
    }


def table(
    name: str, image: Bytes, mask: Bytes, folder: Path, *, rounds: int, methods: list[str] = METHODS
) -> NDArray[np.uint8]:
    """Print one photo's figures; returns its row of the contact sheet, RGB."""
    image_path, mask_path = folder / "image.png", folder / "mask.png"
    cv2.imwrite(str(image_path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(mask_path), mask)
    share = 100 * np.count_nonzero(mask) / mask.size
    print(f"{name}: {image.shape[1]}x{image.shape[0]}, {share:.1f} % masked", flush=True)
    found: dict[str, list[dict[str, float]]] = {method: [] for method in methods if available(method)}
    for _ in range(rounds):
        for method, runs in found.items():
            runs.append(measured(method, image_path, mask_path, folder / f"{method}.png"))
    ours = statistics.median(run["seconds"] for run in found["quick-fill"])
    for method in methods:
        if method not in found:
            print(f"  {method:14} not installed")
            continue
        runs = found[method]
        seconds = statistics.median(run["seconds"] for run in runs)
        busy = statistics.median(run["busy"] for run in runs)
        line = f"  {method:14} {seconds:7.2f} s  {busy:7.2f} s busy  {max(run['memory'] for run in runs):5.0f} MB"
        line += f"  {seconds / ours:6.2f} x quick-fill  {runs[-1]['outside']:6d} px changed outside"
        if runs[-1]["wait"] is not None:
            line += f"  {runs[-1]['steps']} steps, longest wait {max(run['wait'] for run in runs):.2f} s"
        print(line, flush=True)
    return contact_row(image, mask, {method: read(folder / f"{method}.png") for method in SHEET if method in found})


def available(method: str) -> bool:
    return method != "pypatchmatch" or importlib.util.find_spec("patchmatch") is not None


def contact_row(image: Bytes, mask: Bytes, results: dict[str, Bytes]) -> Bytes:
    red = image.copy()
    red[mask > 0] = (0.4 * red[mask > 0] + 0.6 * np.array([255, 0, 0])).astype(np.uint8)
    return row_of({"masked": red, **results})


def row_of(images: dict[str, Bytes]) -> Bytes:
    """The images, scaled to CELL pixels of width, beside each other with their titles."""
    heights = {title: round(CELL * image.shape[0] / image.shape[1]) for title, image in images.items()}
    cells = []
    for title, image in images.items():
        cell = cv2.resize(image, (CELL, heights[title]), interpolation=cv2.INTER_AREA)
        below = 4 + max(heights.values()) - heights[title]
        cell = cv2.copyMakeBorder(cell, 22, below, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        cells.append(cv2.putText(cell, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA))
    return np.hstack(cells).astype(np.uint8)


def write_sheet(path: Path, rows: list[Bytes]) -> None:
    """Write the rows below each other."""
    width = max(row.shape[1] for row in rows)
    whole = [
        cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for row in rows
    ]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 86] if path.suffix == ".jpg" else []
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(whole), cv2.COLOR_RGB2BGR), quality)


def pairs_in(folder: Path) -> dict[str, tuple[Bytes, Bytes]]:
    found = {}
    for mask_path in sorted(folder.glob("*_mask.png")):
        name = mask_path.name.removesuffix("_mask.png")
        found[name] = read(next(folder.glob(f"{name}.*"), folder / name)), read_mask(mask_path)
    return found


def read(path: Path) -> Bytes:
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path} cannot be read as an image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_mask(path: Path) -> Bytes:
    return np.where(read(path)[:, :, 0] > 127, 255, 0).astype(np.uint8)


def default_photos() -> dict[str, tuple[Bytes, Bytes]]:
    """Five photos of scikit-image, each with a mask over one object."""
    import skimage.data

    motorcycle = cv2.resize(skimage.data.stereo_motorcycle()[0], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    photos = {
        "astronaut": skimage.data.astronaut(),
        "chelsea": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
        "motorcycle": motorcycle,
        "rocket": skimage.data.rocket(),
    }
    masks = {name: np.zeros(photo.shape[:2], np.uint8) for name, photo in photos.items()}
    cv2.ellipse(masks["astronaut"], (171, 378), (54, 52), 0, 0, 360, 255, -1)
    cv2.ellipse(masks["chelsea"], (168, 118), (48, 42), 0, 0, 360, 255, -1)
    for name, outline in OUTLINES.items():
        points = np.array(outline.split(), dtype=np.int32).reshape(-1, 2)
        cv2.fillPoly(masks[name], [points], 255)
    return {name: (photos[name], masks[name]) for name in photos}


OUTLINES = {
    "coffee": """395 75 420 62 424 100 405 190 402 215 412 270 405 315 370 335 335 318 322 280 345 240 378 225
        384 170""",
    "motorcycle": """82 200 95 172 125 180 130 145 170 145 210 160 260 150 330 145 388 105 398 52 440 58 458 95
        485 102 486 145 465 165 485 200 520 215 528 250 560 310 550 365 500 370 455 335 430 290 400 305 350 315
        300 325 288 355 258 350 252 318 200 332 140 328 100 295 88 240""",
    "rocket": "310 120 340 120 350 200 352 427 298 427 302 200",
}
"""x y x y ... of the spoon, the motorcycle and the rocket."""


def scratches(folder: Path, *, rounds: int) -> None:
    """Scratched photos against the photo before it was scratched."""
    import skimage.data

    truth = skimage.data.chelsea()
    for width in (1, 3):
        rng = np.random.default_rng(1)
        mask = np.zeros(truth.shape[:2], np.uint8)
        for _ in range(25):
            start, end = rng.integers(0, 300, 2).tolist(), rng.integers(0, 300, 2).tolist()
            cv2.line(mask, (start[0] + 80, start[1]), (end[0] + 80, end[1]), 255, width)
        damaged = truth.copy()
        damaged[mask > 0] = 255
        methods = [method for method in METHODS if method != "shift-map"]
        table(f"chelsea, scratches {width} px wide", damaged, mask, folder, rounds=rounds, methods=methods)
        for method in filter(available, methods):
            out = read(folder / f"{method}.png")
            error = ((out.astype(np.float64) - truth) ** 2)[mask > 0].mean()
            print(f"  {method:14} {10 * np.log10(255**2 / error):.2f} dB against the photo before")


def quarters(folder: Path, *, rounds: int) -> None:
    """512x512 with a hole of a quarter of the image, for the budget of two seconds."""
    square = np.zeros((512, 512), np.uint8)
    square[128:384, 128:384] = 255
    for name, (photo, _) in default_photos().items():
        size = min(photo.shape[:2])
        scaled = cv2.resize(photo[:size, :size], (512, 512), interpolation=cv2.INTER_AREA)
        table(
            f"{name}, a quarter of 512x512", scaled, square, folder, rounds=rounds, methods=["shift-map", "quick-fill"]
        )


def large(folder: Path) -> None:
    """12 megapixels, 3 % masked: one hole, a dozen holes, thin damage. Without the plain shift-map: too slow."""
    import skimage.data

    photo = cv2.resize(skimage.data.coffee(), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    grain = cv2.resize(rng.normal(0, 8, (1500, 2000)).astype(np.float32), (4000, 3000))
    photo = np.clip(photo + grain[:, :, None], 0, 255).astype(np.uint8)
    one, dozen, thin = (np.zeros(photo.shape[:2], np.uint8) for _ in range(3))
    cv2.ellipse(one, (2600, 2100), (390, 294), 20, 0, 360, 255, -1)
    for _ in range(12):
        x, y = rng.integers(200, 3800), rng.integers(200, 2800)
        cv2.ellipse(dozen, (int(x), int(y)), (110, 90), 0, 0, 360, 255, -1)
    for _ in range(40):
        ends = rng.integers(0, (4000, 3000, 4000, 3000)).tolist()
        cv2.line(thin, tuple(ends[:2]), tuple(ends[2:]), 255, 4)
    for name, mask in (("one hole", one), ("twelve holes", dozen), ("scratches", thin)):
        methods = ["telea", "navier-stokes", "quick-fill"]
        table(f"12 megapixels, {name}", photo, mask, folder, rounds=1, methods=methods)


if __name__ == "__main__":
    main()
