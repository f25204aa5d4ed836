"""How well a segmenter finds objects by clicks and by a box, and how long a click takes.

    .venv/bin/python -m benchmarks.segmenters [--photos DIR] [--segmenter NAME] [--clicks 5] [--editor] [--sheet FILE]

NAME is a segmenter without a model, or a model of the catalog. Where they are not installed, slimsam and sam2.1-tiny
have random weights: their overlaps mean nothing, and the time of a further click is that of a decoder of their size.

For each photo with a mask of its object, by default those of `benchmarks.scenes`, which are fetched by
`python -m benchmarks.scenes`: intersection over union after each click, and with the box around the object.
The first click is at the point of the object that is deepest inside it; each further one at the deepest point of the
largest part that is wrong, on the object or beside it (the procedure of Xu et al. 2016, section 3.3). The times are
those of the first click, which has everything to compute, and of a further one, when what is computed of the image
alone is kept: processor time of all threads / time passed, on the photo as it is and scaled to 12 megapixels.

Plain is cv2.grabCut alone on the whole photo, as OpenCV's tutorial uses it: from the same box, or from a disc at the
click. The last table compares the means with those, and the slowest further click with its goal.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import django
import numpy as np
from django.db import DatabaseError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")  # the registry knows models of the catalog
django.setup()
from benchmarks.scenes import objects  # noqa: E402 - the repository is on the path only now
from inpainting.catalog.shipped_tools import TRANSFORMERS  # noqa: E402
from inpainting.core.errors import InvalidRequest  # noqa: E402
from inpainting.core.geometry import Box  # noqa: E402
from inpainting.core.image import CanonicalImage, Mask  # noqa: E402
from inpainting.core.masks import bounds  # noqa: E402
from inpainting.segmenters import registry  # noqa: E402
from inpainting.segmenters.base import Hint, Point, Segmenter, Selection  # noqa: E402
from inpainting.segmenters.networks.catalog_segmenter import CatalogSegmenter  # noqa: E402

PIXELS = 12_000_000
MILLISECONDS = {"none": (1, 150), "model": (0, 150)}
"""Goals of a further click: without a model at 12 megapixels (index 1), with a small one on photos as they are."""
RANDOM = ("slimsam", "sam2.1-tiny")
"""Models that are made with random weights where they are not installed."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--photos",
        type=Path,
        help="a folder of NAME.png and NAME_mask.png (white: the object)",
    )
    arguments.add_argument("--segmenter", default=registry.DEFAULT, help="its name (default %(default)s)")
    arguments.add_argument("--clicks", type=int, default=5)
    arguments.add_argument(
        "--editor",
        action="store_true",
        help="a click on the object removes nothing and one beside it adds nothing, as the editor keeps it",
    )
    arguments.add_argument("--sheet", type=Path, help="where to write the photos with what the first click selects")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(find_or_make(options.segmenter, Path(folder)), options)


def measure(segmenter: Segmenter, options: argparse.Namespace) -> None:
    if Hint.POINTS not in segmenter.reads:
        sys.exit(f"{segmenter.name} reads no clicks.")
    headings = [f"{count + 1} click{'s' * (count > 0)}" for count in range(options.clicks)]
    headings += ["box", "plain, 1 click", "plain, box", "first ms", "further ms", "first, 12 MP", "further, 12 MP"]
    print("| object | " + " | ".join(headings) + " |\n|" + "---|" * (len(headings) + 1))
    rows, slowest = [], [0.0, 0.0]
    for name, photo, truth in photos_with_masks(options.photos):
        found, points = by_clicks(segmenter, photo, truth, options.clicks, keeps=options.editor)
        figures = [overlap(mask, truth) for mask in found]
        box = bounds(truth) or Box.whole(photo.size)
        reads_box = Hint.BOX in segmenter.reads
        figures.append(overlap(segmenter.segment(photo, Selection(box=box)), truth) if reads_box else float("nan"))
        figures += [
            overlap(plain(photo, selection), truth) for selection in (Selection(points[:1]), Selection(box=box))
        ]
        times = []
        for index, scale in enumerate((1.0, None)):
            scaled, selection = at_scale(mirrored(photo), mirrored_points(points, photo), scale)
            first = milliseconds(segmenter, scaled, Selection(selection.points[:1]))
            segmenter.segment(scaled, Selection(selection.points[:-1] or selection.points))
            further = milliseconds(segmenter, scaled, selection)
            slowest[index] = max(slowest[index], further[1])
            times += [f"{spent:.0f} / {passed:.0f}" for spent, passed in (first, further)]
        rows.append(figures)
        print(f"| {name} | " + " | ".join([f"{figure:.2f}" for figure in figures] + times) + " |")
        if options.sheet:
            show(
                options.sheet.with_stem(f"{options.sheet.stem}-{name}"),
                photo,
                segmenter.segment(photo, Selection(points[:1])),
            )
    means, worst = np.mean(rows, axis=0), np.min(rows, axis=0)
    halves = (
        ("mean of every other one", np.mean(rows[::2], axis=0)),
        ("of the rest", np.mean(rows[1::2] or rows, axis=0)),
    )
    for name, values in (("mean", means), ("worst", worst), *halves):
        print(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in values) + " | | | | |")
    compare(segmenter, means, slowest)


def compare(
    segmenter: Segmenter, means: np.ndarray[tuple[int, ...], np.dtype[np.float64]], slowest: list[float]
) -> None:
    """Print each figure with what it is compared with, and their ratio. slowest: milliseconds, see MILLISECONDS."""
    print("\n| figure | reached | goal or baseline | ratio |\n|---|---|---|---|")
    for name, reached, baseline in (
        ("overlap, 1 click; cv2.grabCut from a disc", means[0], means[-2]),
        ("overlap, box; cv2.grabCut from the box", means[-3], means[-1]),
    ):
        print(f"| {name} | {reached:.2f} | {baseline:.2f} | {reached / max(baseline, 0.01):.2f} |")
    size, goal = MILLISECONDS["model" if isinstance(segmenter, CatalogSegmenter) else "none"]
    reached = slowest[size]
    where = ("photos as they are", "12 megapixels")[size]
    print(f"| slowest further click, {where}, ms | {reached:.0f} | at most {goal} | {reached / goal:.2f} |")


def plain(photo: CanonicalImage, selection: Selection) -> Mask:
    """What cv2.grabCut finds by itself, in five iterations on the whole photo."""
    pixels = np.ascontiguousarray(photo.pixels[:, :, :3])
    labels = np.full(pixels.shape[:2], cv2.GC_PR_BGD, np.uint8)
    rectangle, mode = None, cv2.GC_INIT_WITH_MASK
    if selection.box is not None:
        box = selection.box
        rectangle, mode = (box.left, box.top, box.size.width, box.size.height), cv2.GC_INIT_WITH_RECT
    for point in selection.points:
        cv2.circle(labels, (int(point.x), int(point.y)), 10, cv2.GC_FGD if point.is_object else cv2.GC_BGD, -1)
    cv2.setRNGSeed(0)
    cv2.grabCut(pixels, labels, rectangle, np.zeros((1, 65)), np.zeros((1, 65)), 5, mode)
    return np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), np.uint8(255), np.uint8(0))


def mirrored(photo: CanonicalImage) -> CanonicalImage:
    """Another image for what is kept of images, with the same objects."""
    return CanonicalImage(np.ascontiguousarray(photo.pixels[:, ::-1].astype(np.uint8)))


def mirrored_points(points: tuple[Point, ...], photo: CanonicalImage) -> tuple[Point, ...]:
    return tuple(replace(point, x=photo.size.width - 1 - point.x) for point in points)


def find_or_make(name: str, folder: Path) -> Segmenter:
    """The segmenter of that name, or a model with random weights in a folder. Ends the program where there is none."""
    try:
        return registry.find(name)
    except InvalidRequest as error:
        refused = error.message
        is_missing = error.code == "model_unavailable"
    except DatabaseError:
        refused, is_missing = f"There is no database, so of the models only {', '.join(RANDOM)} can be made.", True
    spec = next((spec for spec in TRANSFORMERS if name in (spec.slug, *spec.aliases)), None)
    if spec is None or not is_missing or spec.slug not in RANDOM:
        sys.exit(refused)
    print(f"{name} is not installed: random weights, so only the times mean something.\n")
    save_random(folder, spec.family)
    return CatalogSegmenter(replace(spec, path=folder))


def save_random(folder: Path, family: str) -> None:
    """Save a model in transformers' layout with random weights, with the published decoder's size."""
    import transformers
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    if family == "sam2":
        transformers.Sam2Model(transformers.Sam2Config()).save_pretrained(folder)
    else:
        encoder = {"hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2, "global_attn_indexes": []}
        transformers.SamModel(transformers.SamConfig(vision_config=encoder)).save_pretrained(folder)
    SamImageProcessorPil().save_pretrained(folder)  # not read for SAM 2, but a model has one


def photos_with_masks(folder: Path | None) -> Iterator[tuple[str, CanonicalImage, Mask]]:
    if folder is None:
        for name, pixels, truth in objects():
            yield name, CanonicalImage(pixels), truth
        return
    for path in sorted(folder.glob("*_mask.png")):
        photo = cv2.cvtColor(cv2.imread(str(path.with_stem(path.stem.removesuffix("_mask")))), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        yield (
            path.stem.removesuffix("_mask"),
            CanonicalImage(photo),
            np.where(np.asarray(mask) > 127, np.uint8(255), np.uint8(0)),
        )


def by_clicks(
    segmenter: Segmenter, photo: CanonicalImage, truth: Mask, clicks: int, *, keeps: bool
) -> tuple[list[Mask], tuple[Point, ...]]:
    """What is selected after each click, and the clicks.

    keeps: a click on the object removes nothing of what was found before, and one beside it adds nothing.
    """
    masks: list[Mask] = []
    points: tuple[Point, ...] = ()
    found = np.zeros_like(truth)
    for _ in range(clicks):
        missing, surplus = truth & ~found, found & ~truth
        (depth, place), (other_depth, other_place) = deepest(missing), deepest(surplus)
        is_object = depth >= other_depth
        points += (Point(*(place if is_object else other_place), is_object),)
        before, found = found, segmenter.segment(photo, Selection(points))
        if keeps and len(points) > 1:
            found = found | before if is_object else found & before
        masks.append(found)
    return masks, points


def deepest(mask: Mask) -> tuple[float, tuple[float, float]]:
    """The largest distance to the border of the mask, and where that is."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    _, depth, _, (x, y) = cv2.minMaxLoc(distance)
    return depth, (float(x), float(y))


def overlap(found: Mask, wanted: Mask) -> float:
    return np.count_nonzero(found & wanted) / max(1, int(np.count_nonzero(found | wanted)))


def at_scale(photo: CanonicalImage, points: tuple[Point, ...], scale: float | None) -> tuple[CanonicalImage, Selection]:
    """The photo and the clicks, scaled; None: to PIXELS."""
    if scale is None:
        scale = (PIXELS / photo.size.area) ** 0.5
    if scale == 1:
        return photo, Selection(points)
    pixels = cv2.resize(photo.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return CanonicalImage(pixels), Selection(tuple(Point(p.x * scale, p.y * scale, p.is_object) for p in points))


def milliseconds(segmenter: Segmenter, photo: CanonicalImage, selection: Selection) -> tuple[float, float]:
    """Processor time of all threads, and time passed."""
    before, begun = time.process_time(), time.perf_counter()
    segmenter.segment(photo, selection)
    return 1000 * (time.process_time() - before), 1000 * (time.perf_counter() - begun)


def show(path: Path, photo: CanonicalImage, found: Mask) -> None:
    shown = np.array(photo.pixels, np.uint8)
    shown[found > 0] = shown[found > 0] // 2 + np.array([127, 0, 0], np.uint8)
    box = bounds(found) or Box.whole(photo.size)
    cv2.rectangle(shown, (box.left, box.top), (box.right - 1, box.bottom - 1), (0, 255, 0), 1)
    cv2.imwrite(str(path), cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
