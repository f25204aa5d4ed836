"""Cut shapes out of photos and compare what quick-fill, plain shift-map and Telea paint there with the photo.

    .venv/bin/python -m benchmarks.known_answers [--photos set] [--sheet FILE]

Structure: SSIM in Lab over the hole at an eighth of the size, 1 is best. Texture: how far the Laplacian energy over the
hole is from the photo's, in powers of two, 0 is best. Both find the images to look at; they must not be optimised: a
smooth hole has a good structure, noise a good texture, and neither shows whether a bench is broken.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import scenes
from benchmarks.quick_fill import contact_row, measured, read, write_sheet

Bytes = NDArray[np.uint8]
METHODS = ("telea", "shift-map", "quick-fill")
SHARE = 0.1
"""Of the image that a shape covers."""
SMALLER = 8
WORST = 10
PHOTOS = ("astronaut", "brick", "camera", "chelsea", "coffee", "gravel", "motorcycle", "rocket")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--photos", choices=("scikit-image", "set"), default="scikit-image", help="set: those of benchmarks/scenes"
    )
    arguments.add_argument("--sheet", type=Path, help="where to write the ten worst fillings (.jpg or .png)")
    options = arguments.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {method: {} for method in METHODS}
    rows: dict[str, Bytes] = {}
    print("| cut out of | structure: " + ", ".join(METHODS) + " | texture | shift-map / quick-fill, processor |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (photo, mask) in cases(options.photos).items():
            results = painted(photo, mask, Path(folder), {method: found[method] for method in METHODS}, name)
            rows[name] = contact_row(photo, mask, {"photo": photo, **results})
            figures = [found[method][name] for method in METHODS]
            ratio = found["shift-map"][name]["busy"] / found["quick-fill"][name]["busy"]
            cells = (", ".join(f"{figure[key]:.2f}" for figure in figures) for key in ("structure", "texture"))
            print(f"| {name} | {' | '.join(cells)} | {ratio:.1f} |", flush=True)
    for method, cases_of in found.items():
        structure = [figure["structure"] for figure in cases_of.values()]
        texture = statistics.fmean(figure["texture"] for figure in cases_of.values())
        busy = [figure["busy"] for figure in cases_of.values()]
        print(
            f"{method}: structure {statistics.fmean(structure):.3f}, median {statistics.median(structure):.3f}, "
            f"worst {min(structure):.3f}; texture {texture:.2f} off; {statistics.fmean(busy):.2f} s of processor time, "
            f"at most {max(busy):.2f}"
        )
    worst = sorted(rows, key=lambda name: found["quick-fill"][name]["structure"])[:WORST]
    print("Worst structure of quick-fill:", ", ".join(worst))
    if options.sheet:
        write_sheet(options.sheet, [rows[name] for name in worst])


def painted(
    photo: Bytes, mask: Bytes, folder: Path, found: dict[str, dict[str, dict[str, float]]], name: str
) -> dict[str, Bytes]:
    """What each method paints; its figures are added to `found`, by method and name."""
    image_path, mask_path, out = folder / "image.png", folder / "mask.png", folder / "out.png"
    damaged = photo.copy()
    damaged[mask > 0] = (255, 0, 255)
    cv2.imwrite(str(image_path), cv2.cvtColor(damaged, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(mask_path), mask)
    results = {}
    for method, figures in found.items():
        run = measured(method, image_path, mask_path, out)
        results[method] = read(out)
        figures[name] = {
            "structure": structure(photo, results[method], mask),
            "texture": abs(float(np.log2(texture(results[method], mask) / texture(photo, mask)))),
            "busy": run["busy"],
        }
    return results


def structure(truth: Bytes, image: Bytes, mask: Bytes) -> float:
    """SSIM in Lab over the hole at an eighth of the size."""
    from skimage.metrics import structural_similarity

    size = truth.shape[1] // SMALLER, truth.shape[0] // SMALLER
    left, right = (
        cv2.cvtColor(cv2.resize(each, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2Lab) for each in (truth, image)
    )
    _, similarity = structural_similarity(left, right, channel_axis=2, data_range=255, full=True)
    inside = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127
    return float(similarity[inside].mean())


def texture(image: Bytes, mask: Bytes) -> float:
    """The mean squared Laplacian over the hole."""
    laplacian = cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    return float((laplacian[inner] ** 2).mean())


def cases(photos: str) -> dict[str, tuple[Bytes, Bytes]]:
    """Photos with a mask at a place of its own: of scikit-image each with each shape, of the set each with one."""
    found: dict[str, tuple[Bytes, Bytes]] = {}
    silhouettes = list(shapes().items())
    for number, (name, photo) in enumerate(of_set() if photos == "set" else of_scikit_image()):
        scale = min(1.0, 640 / max(photo.shape))
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        chosen = silhouettes if photos != "set" else [silhouettes[number % len(silhouettes)]]
        for shape, silhouette in chosen:
            rng = np.random.default_rng([number, len(found)])
            found[f"{name}, {shape}"] = photo, placed(silhouette, photo.shape[:2], rng)
    return found


def of_set() -> Iterator[tuple[str, Bytes]]:
    for photo in scenes.photos().values():
        if photo.file != scenes.SCIKIT_IMAGE:
            yield photo.name, scenes.read(photo)


def of_scikit_image() -> Iterator[tuple[str, Bytes]]:
    import skimage.data

    for name in PHOTOS:
        photo = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
        yield name, photo if photo.ndim == 3 else cv2.cvtColor(photo, cv2.COLOR_GRAY2RGB)


def shapes() -> dict[str, Bytes]:
    """Silhouettes, 255 inside."""
    import skimage.data

    horse = np.where(skimage.data.horse(), 0, 255).astype(np.uint8)
    person = np.zeros((400, 200), np.uint8)
    cv2.circle(person, (100, 45), 38, 255, -1)
    outline = "100 80 160 100 185 220 160 230 150 170 150 390 110 390 100 260 90 390 50 390 50 170 40 230 15 220 40 100"
    cv2.fillPoly(person, [np.array(outline.split(), np.int32).reshape(-1, 2)], 255)
    blob = np.zeros((300, 300), np.uint8)
    for x, y, radius in ((130, 140, 90), (200, 180, 70), (110, 220, 55), (190, 90, 50)):
        cv2.circle(blob, (x, y), radius, 255, -1)
    return {"horse": horse, "person": person, "blob": blob}


def placed(silhouette: Bytes, shape: tuple[int, ...], rng: np.random.Generator) -> Bytes:
    """[h, w]: the silhouette over SHARE of the image, wholly inside it."""
    left, top, width, height = cv2.boundingRect(silhouette)
    silhouette = silhouette[top : top + height, left : left + width]
    scale = np.sqrt(SHARE * shape[0] * shape[1] / np.count_nonzero(silhouette))
    scale = min(scale, 0.95 * shape[0] / height, 0.95 * shape[1] / width)
    silhouette = cv2.resize(silhouette, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    height, width = silhouette.shape
    mask = np.zeros(shape, np.uint8)
    top, left = int(rng.integers(0, shape[0] - height)), int(rng.integers(0, shape[1] - width))
    mask[top : top + height, left : left + width] = silhouette
    return mask


if __name__ == "__main__":
    main()
