"""Compare first fillings of an outpainting's border, and write the images of docs/use/outpainting.md.

    .venv/bin/python -m benchmarks.outpainting [--photos DIR] [--out DIR]

Each photo is extended by a third of its size on each side: by drawing out its edge pixels, by noise of its own
spectrum, and by quick-fill. The figures are the seam scores over the photo's old border (core/seams.py; visible from 1
on), and the seconds that quick-fill took.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import bare_settings as bare_settings  # before the engines read settings
from inpainting.core.codecs import to_rgb8
from inpainting.core.image import CanonicalImage
from inpainting.core.outpainting import Outpaint, extend
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.seams import seam_score
from inpainting.engines.base import Plan
from inpainting.engines.painting import paint
from inpainting.engines.plan import EngineChoice, make_settings_plan, plan_images
from inpainting.engines.quick_fill.declaration import QUICK_FILL, resolve
from inpainting.engines.quick_fill.engine import QuickFill

Bytes = NDArray[np.uint8]
NAMES = ("astronaut", "brick", "camera", "chelsea", "coffee", "hubble_deep_field", "motorcycle_left", "rocket")
SIDE = 400
"""Pixels of a photo's longer side."""
SHOWN = 360
"""Pixels of the width of each half of an image in the document."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=Path, help="a folder of photos in place of those of scikit-image")
    arguments.add_argument("--out", type=Path, default=Path("docs/use/outpainting"), help="where to write the images")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| photo | edge pixels | noise | quick-fill | seconds |\n|---|---|---|---|---|")
    for path in sorted(options.photos.iterdir()) if options.photos else default_photos():
        photo = scaled_down(np.asarray(Image.open(path).convert("RGB")))
        height, width = photo.shape[:2]
        sides = Outpaint(left=width // 3, top=height // 3, right=width // 3, bottom=height // 3)
        canvas, mask, placement = extend(CanonicalImage(photo), sides)
        noise = np.where(mask[:, :, None] > 0, spectral_noise(photo, canvas.pixels.shape), canvas.pixels)
        plan = quick_fill_plan(InpaintRequest(canvas, mask, PaintSettings(seed=1), placement=placement))
        start = time.perf_counter()
        (painting,) = paint(plan, QuickFill(), lambda step: None)
        seconds = time.perf_counter() - start
        scores = [seam_score(canvas, mask), seam_score(CanonicalImage(noise), mask), painting.seam_score]
        print(f"| {path.stem} | {' | '.join(f'{score:.2f}' for score in scores)} | {seconds:.1f} |", flush=True)
        before = np.full(canvas.pixels.shape, 255, np.uint8)
        before[placement.box.slices] = photo
        write(options.out / f"{path.stem}.webp", before, to_rgb8(painting.image))


def default_photos() -> list[Path]:
    from skimage import data

    folder = Path(data.__file__).parent
    return [next(folder.glob(f"{name}.*g")) for name in NAMES]


def scaled_down(photo: Bytes) -> Bytes:
    scale = min(1.0, SIDE / max(photo.shape[:2]))
    return np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def spectral_noise(photo: Bytes, shape: tuple[int, ...]) -> Bytes:
    """Noise [shape] with the photo's mean colour and amplitude spectrum, and random phases."""
    size = (shape[1], shape[0])
    spectrum = np.abs(np.fft.fft2(cv2.resize(photo, size).astype(np.float64), axes=(0, 1)))
    phases = np.angle(np.fft.fft2(np.random.default_rng(1).normal(size=shape[:2])))[:, :, None]
    noise = np.fft.ifft2(spectrum * np.exp(1j * phases), axes=(0, 1)).real
    noise += photo.mean(axis=(0, 1)) - noise.mean(axis=(0, 1))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def quick_fill_plan(request: InpaintRequest) -> Plan:
    settings = request.settings
    resolution = resolve(settings, None)  # type: ignore[arg-type] # quick-fill reads no catalog
    return plan_images(request, make_settings_plan(resolution, EngineChoice(QUICK_FILL, ""), settings))


def write(path: Path, before: Bytes, after: Bytes) -> None:
    """Both beside each other, as WebP."""
    gap = np.full((before.shape[0], 12, 3), 255, np.uint8)
    both = Image.fromarray(np.hstack([before, gap, after]))
    both = both.resize((2 * SHOWN, round(both.height * 2 * SHOWN / both.width)), Image.Resampling.LANCZOS)
    both.save(path, "WEBP", quality=82, method=6)


if __name__ == "__main__":
    main()
