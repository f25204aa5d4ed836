"""Upscaling: memory of large results, and what tiles cost and change beside the network's whole output.

    python -m benchmarks.upscaling --weights realesrgan-x2.onnx
    python -m benchmarks.upscaling --tiles swinir.safetensors hat.safetensors
    python -m benchmarks.upscaling --transformers 256 224 192
    python -m benchmarks.upscaling --ncnn realesrgan-x4plus realesrgan-x4plus-anime
    python -m benchmarks.upscaling --sheet docs/screenshots/upscaling.webp

Without --weights: Lanczos alone. With --tiles: what the tiles of these change alone. With --transformers: the memory
and the time of one tile of these sides alone, for networks with the features of the published ones and random weights.
With --ncnn: published networks, which `make weights` fetches, beside ncnn, the engine of Upscayl, on the processor.
With --sheet: a part of a photo four times as large by its pixels, by Lanczos and by realesrgan-x4plus, side by side.
Each row is computed in a process of its own, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from inpainting.core.geometry import Box
from inpainting.families.dat import ATTENTION, DATSizes, dat_shapes
from inpainting.families.hat import HATSizes, hat_shapes
from inpainting.families.super_resolution import Reconstruction, Upsampler
from inpainting.families.swinir import SwinIRSizes, swinir_shapes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")
RECONSTRUCTION = Reconstruction(180, Upsampler.PIXELSHUFFLE, 64, 4, 1)
TRANSFORMERS: dict[str, tuple[Callable[[Any], dict[str, tuple[int, ...]]], Any]] = {
    "swinir": (swinir_shapes, SwinIRSizes(RECONSTRUCTION, 8, (2,), (6,), 360)),
    "hat": (hat_shapes, HATSizes(RECONSTRUCTION, 16, 24, (2,), (6,), 360, 60, 6)),
    "dat": (dat_shapes, DATSizes(RECONSTRUCTION, (8, 32), (4,), (6,), 720, 5, (22, 11))),
}
"""SwinIR-M, HAT and DAT for 4 times as published, but for the number of blocks, by which the memory does not grow."""
LANCZOS_SIZES = ((7744, 5168), (11_840, 8096))
PHOTOS = {"astronaut": data.astronaut, "cat": data.chelsea, "coffee": data.coffee}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upscaling", description=__doc__)
    parser.add_argument("--weights", type=Path, help="an upscaler in ONNX")
    parser.add_argument("--tiles", type=Path, nargs="+", help="upscalers in ONNX or safetensors")
    parser.add_argument(
        "--transformers", type=int, nargs="+", metavar="SIDE", help="of a tile, in pixels of the source"
    )
    parser.add_argument("--ncnn", nargs="+", default=[], metavar="SLUG", help="of a published file")
    parser.add_argument("--sheet", type=Path, help="the file to write")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for path in options.tiles or ():
        run(context, tiles_beside_the_whole, path)
    for family, side in product(TRANSFORMERS, options.transformers or ()):
        run(context, one_tile_of_a_transformer, family, side)
    if options.sheet is not None:
        run(context, write_sheet, options.sheet)
        return
    for slug in options.ncnn:
        run(context, beside_ncnn, slug)
    if options.tiles or options.transformers or options.ncnn:
        return
    for size in LANCZOS_SIZES:
        run(context, lanczos_memory, size)
    run(context, lanczos_quality)
    if options.weights is not None:
        run(context, beside_the_bare_network, options.weights)
        run(context, tiles_beside_the_whole, options.weights)


def run(context: multiprocessing.context.SpawnContext, measure: object, *arguments: object) -> None:
    process = context.Process(target=measured, args=(measure, *arguments))
    process.start()
    process.join()


def measured(measure: object, *arguments: object) -> None:
    import django

    django.setup()
    assert callable(measure)
    measure(*arguments)
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", flush=True)


def lanczos_memory(size: tuple[int, int]) -> None:
    from inpainting.core.geometry import Size
    from inpainting.core.image import CanonicalImage
    from inpainting.upscalers.enlarging import Enlargement
    from inpainting.upscalers.lanczos import Lanczos

    width, height = size
    image = CanonicalImage(cv2.resize(data.coffee(), (width // 4, height // 4)).astype(np.uint8))
    started = time.process_time()
    Enlargement(image, Size(width, height), Lanczos()).run(lambda done, of: None)
    print(f"lanczos to {width}x{height}: {time.process_time() - started:.1f} s of processor time")


def lanczos_quality() -> None:
    """Photos scaled down and enlarged again, beside Lanczos without the sharpening."""
    from inpainting.core.geometry import Size
    from inpainting.core.image import CanonicalImage
    from inpainting.upscalers.enlarging import Enlargement
    from inpainting.upscalers.lanczos import Lanczos

    class Plain(Lanczos):
        def sharpen(self, pixels: np.ndarray, factor: float) -> np.ndarray:
            return pixels

    for name, load in PHOTOS.items():
        for factor in (2, 4):
            photo = load()[: load().shape[0] // 4 * 4, : load().shape[1] // 4 * 4, :3]
            height, width = photo.shape[:2]
            small = cv2.resize(photo, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
            words = []
            for upscaler in (Lanczos(), Plain()):
                image = CanonicalImage(small.astype(np.uint8))
                found = Enlargement(image, Size(width, height), upscaler).run(lambda done, of: None).pixels
                psnr, ssim = peak_signal_noise_ratio(photo, found), structural_similarity(photo, found, channel_axis=2)
                words.append(f"{psnr:.2f} dB, {ssim:.4f}")
            print(f"lanczos {name} {factor}x: sharpened {words[0]}; plain {words[1]}")


def upscaler_of(path: Path) -> object:
    from inpainting.catalog.inspection.formats.safetensors_header import read_header
    from inpainting.catalog.inspection.formats.weights_file import weights_family
    from inpainting.catalog.specs import ModelSpec
    from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler

    family = "onnx-upscaler" if path.suffix == ".onnx" else weights_family(read_header(path))
    return NetworkUpscaler(ModelSpec(slug="measured", label=path.name, family=family, path=path))


def one_tile_of_a_transformer(family: str, side: int) -> None:
    from inpainting.catalog.specs import ModelSpec
    from inpainting.core.geometry import Size
    from inpainting.core.image import CanonicalImage
    from inpainting.upscalers.enlarging import Enlargement
    from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler

    shapes, sizes = TRANSFORMERS[family]
    rng = np.random.default_rng(0)
    weights = {name: 0.02 * rng.standard_normal(shape, np.float32) for name, shape in shapes(sizes).items()}
    if family == "dat":
        short, long = sizes.window
        for name in [name for name in weights if name.endswith("rpe_biases")]:
            weights[name] = np.array([*product(range(1 - short, short), range(1 - long, long))], np.float32)
            if name.startswith(f"{ATTENTION}."):
                weights[name.replace("rpe_biases", "relative_position_index")] = np.zeros((short * long,) * 2, np.int64)
        weights |= {name: np.abs(tensor) for name, tensor in weights.items() if name.endswith("running_var")}
    image = CanonicalImage(np.ascontiguousarray(np.tile(data.coffee(), (2, 2, 1))[:side, :side]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        save_file(weights, path)
        del weights
        upscaler = NetworkUpscaler(ModelSpec(slug="measured", label=family, family=family, path=path))
        vars(upscaler)["tiling"] = tiling = replace(upscaler.tiling, side=side)
        work = Enlargement(image, Size(tiling.scale * side, tiling.scale * side), upscaler)
        started = time.process_time()
        work.pixels_of(Box.whole(work.size), Box.whole(image.size), lambda: None)
    seconds = time.process_time() - started
    per_megapixel = seconds / (tiling.step * tiling.scale) ** 2 * 1e6
    print(
        f"{family}, a tile of {side}: {seconds:.1f} s of processor time, {per_megapixel:.1f} s for a megapixel of the "
        "result"
    )


def beside_the_bare_network(path: Path) -> None:
    """512x512, alternating three times."""
    from inpainting.core.geometry import Size
    from inpainting.core.image import CanonicalImage
    from inpainting.upscalers.enlarging import Enlargement

    upscaler = upscaler_of(path)
    image = CanonicalImage(data.astronaut())
    scale = upscaler.tiling.scale  # type: ignore[attr-defined]
    inputs = np.divide(image.pixels.transpose(2, 0, 1)[None], 255, dtype=np.float32)
    network = upscaler.loaded  # type: ignore[attr-defined]
    ours, bare = [], []
    for _ in range(3):
        started = time.process_time()
        Enlargement(image, Size(512 * scale, 512 * scale), upscaler).run(lambda done, of: None)  # type: ignore[arg-type]
        middle = time.process_time()
        network.session.run(None, {network.session.get_inputs()[0].name: inputs})
        ours.append(middle - started)
        bare.append(time.process_time() - middle)
    print(f"{path.name} on 512x512: {np.median(ours):.1f} s, the bare network {np.median(bare):.1f} s")


def write_sheet(path: Path) -> None:
    from inpainting.core.geometry import Size
    from inpainting.core.image import CanonicalImage
    from inpainting.upscalers.enlarging import Enlargement
    from inpainting.upscalers.lanczos import Lanczos
    from tests.weights import ncnn_networks

    photo = np.ascontiguousarray(data.chelsea()[60:132, 176:272])
    height, width = 4 * photo.shape[0], 4 * photo.shape[1]
    panels = [cv2.resize(photo, (width, height), interpolation=cv2.INTER_NEAREST)]
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "realesrgan-x4plus.safetensors"
        save_file(ncnn_networks.tensors("realesrgan-x4plus", fetched_file), weights)
        for upscaler in (Lanczos(), upscaler_of(weights)):
            work = Enlargement(CanonicalImage(photo), Size(width, height), upscaler)  # type: ignore[arg-type]
            panels.append(work.run(lambda done, of: None).pixels)
    Image.fromarray(np.hstack(panels)).save(path, quality=85, method=6)


def fetched_file(slug: str) -> Path:
    from tests.weights import cache
    from tests.weights.published import PUBLISHED

    return cache.path_of(PUBLISHED[slug])


def beside_ncnn(slug: str) -> None:
    """A part of a photo of 128x128, alternating three times, and the tiles of the network on 512x512."""
    from tests.weights import ncnn_networks, reference

    sys.path.append(str(reference.folder(reference.NCNN)))
    image = np.divide(data.astronaut()[30:158, 160:288].transpose(2, 0, 1), 255, dtype=np.float32)
    reference_network = ncnn_networks.load(slug, fetched_file)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{slug}.safetensors"
        save_file(ncnn_networks.tensors(slug, fetched_file), path)
        network = upscaler_of(path).loaded  # type: ignore[attr-defined]
        ours, theirs, differences = [], [], []
        for _ in range(3):
            started = time.process_time()
            found = network.compute(image[None], lambda: None)[0]
            middle = time.process_time()
            expected = ncnn_networks.compute(reference_network, image)
            ours.append(middle - started)
            theirs.append(time.process_time() - middle)
            differences.append(255 * np.abs(found - expected).max())
        print(
            f"{slug} on 128x128: {np.median(ours):.2f} s of processor time, ncnn {np.median(theirs):.2f} s, at "
            f"most {max(differences):.4f} of 255 apart"
        )
        tiles_beside_the_whole(path)


def tiles_beside_the_whole(path: Path) -> None:
    """Strips of photos in two tiles, with the margins that the network has, and as a whole."""
    from inpainting.core.geometry import Size
    from inpainting.core.image import CanonicalImage
    from inpainting.upscalers.enlarging import Enlargement

    upscaler = upscaler_of(path)
    tiling = upscaler.tiling  # type: ignore[attr-defined]
    scale, step = tiling.scale, tiling.scale * tiling.step
    for name, load in PHOTOS.items():
        photo = load()[:, :, :3]
        width, height = photo.shape[1] // 32 * 32, 384 // scale // 16 * 16
        top = (photo.shape[0] - height) // 2
        image = CanonicalImage(np.ascontiguousarray(photo[top : top + height, :width]))
        found = []
        for side in (width // 2 + tiling.margin, 4096):
            vars(upscaler)["tiling"] = replace(tiling, side=side)
            work = Enlargement(image, Size(scale * width, scale * height), upscaler)  # type: ignore[arg-type]
            found.append(work.run(lambda done, of: None).pixels.astype(int))
        difference = np.abs(found[0] - found[1]).max(2)
        steps = [np.abs(np.diff(pixels, axis=1)).mean((0, 2)) for pixels in found]
        border = scale * width // 2 - 1
        columns = (difference > 2).mean(0).sum()
        print(
            f"{path.name} on {name}, margin {scale * tiling.margin}: at most {difference.max()}; above 2 in "
            f"{columns:.3f} of the columns around a border: at most 2 on {100 * (1 - 2 * columns / step):.3f} % of a "
            f"tile of {step} with borders on four sides; step across the border {steps[0][border]:.2f}, in the whole "
            f"{steps[1][border]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
