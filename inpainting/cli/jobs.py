"""Build the jobs of `manage.py inpaint` from its options: the plan of the settings, and the files of each image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from inpainting import moderation
from inpainting.cli.file_job import FileJob
from inpainting.cli.options import option_name, outpaint_from_options, settings_from_options
from inpainting.cli.passed_over import list_passed_over
from inpainting.core.adapter_uses import CONDITIONING_IMAGES, IMAGE_LABELS, IMAGE_LISTS, IMAGE_PLACES, INSERT
from inpainting.core.codecs.accepted import SUFFIXES
from inpainting.core.codecs.formats import EXTENSIONS, PNG, format_of
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.engines.base import SettingsPlan
from inpainting.engines.inserting import plan_insert
from inpainting.generations.submit import random_seed
from inpainting.image_limits import image_limits
from inpainting.planning import planner

MakeJob = Callable[[Path, Path | None, Path], FileJob]
"""Called with the image, its mask and the result."""


def build_jobs(options: Mapping[str, Any], warn: Callable[[str], None]) -> list[FileJob]:
    """Return the jobs of a command line.

    warn: called with each sentence about settings that are changed or ignored.

    Raises CommandError for paths, and InvalidRequest for settings, that cannot be painted.
    """
    image, mask = options["image"], options["mask"]
    make, extension = build_maker(options, warn)
    paint = folder_jobs if image.is_dir() else single_job
    return paint(image, mask, options["out"], make, extension)


def build_maker(options: Mapping[str, Any], warn: Callable[[str], None]) -> tuple[MakeJob, str]:
    """Return what makes the job of an image with the settings of a command line, and the extension of the results.

    Raises as `build_jobs` does.
    """
    image, mask = options["image"], options["mask"]
    conditioning = {name: options[name] for name in CONDITIONING_IMAGES if options.get(name) is not None}
    for path in (image, mask, *conditioning.values()):
        if path is not None and not path.exists():
            raise CommandError(f"{path} does not exist.")
    options = {**options, "output_format": output_format(options)}
    plan, outpaint = plan_from_options(options, conditioning, warn), outpaint_from_options(options)
    polarity = MaskPolarity(options["mask_polarity"])
    if mask is None and outpaint is None and polarity.needs_mask and plan.engine.needs_surroundings:
        raise CommandError(f"MASK is missing: {plan.engine.name} paints from what is kept.")
    common = partial(
        FileJob,
        plan=replace(plan, warnings=()),  # given to `warn` once, not with each image
        polarity=polarity,
        moderate=moderation.moderator(plan.settings),
        outpaint=outpaint,
        embeds_settings=settings.EMBED_SETTINGS,
        limits=image_limits(),
    )

    def make(photo: Path, mask_file: Path | None, result: Path) -> FileJob:
        images = {name: conditioning_image_path(photo, path, name) for name, path in conditioning.items()}
        return common(photo, mask_file, result, conditioning_images=images)

    return make, EXTENSIONS[plan.settings.output_format]


def output_format(options: Mapping[str, Any]) -> str:
    """Return the format of the results: that of --out's extension, or of --output-format for a folder.

    Raises CommandError where they contradict each other, and for another extension.
    """
    requested, out = options["output_format"], options["out"]
    if options["image"].is_dir() or out.is_dir():
        return requested or PNG
    named = format_of(out.name)
    if named is None:
        raise CommandError(f"Results are PNG, JPEG or WebP files; {out.name} has the extension of none of them.")
    if requested not in (None, named):
        raise CommandError(f"{out.name} and --output-format {requested} contradict each other.")
    return named


def plan_from_options(options: Mapping[str, Any], images: Collection[str], warn: Callable[[str], None]) -> SettingsPlan:
    """Return the plan of the options' settings, with a random seed where they have none.

    images: the names of the conditioning images.
    """
    requested = settings_from_options(options)
    seed = random_seed() if options["seed"] is None else options["seed"]
    plan = planner().plan_settings(requested, options["engine"], seed=seed, inserts=INSERT.image in images)
    plan = plan_insert(plan, images)
    for warning in plan.warnings:
        warn(warning)
    for name in sorted(plan.ignored.keys() & requested.to_dict(exclude_defaults=True).keys()):
        warn(f"{option_name(name)} changes nothing: {plan.engine.name} does not read it here.")
    return plan


def single_job(image: Path, mask: Path | None, out: Path, make: MakeJob, extension: str) -> list[FileJob]:
    """Return the job of one image.

    out: the file to write, or a folder for it.
    """
    if out.is_dir():
        out = result_path(image, out, extension)
    return [make(image, None if mask is None else mask_path(image, mask), out)]


def folder_jobs(images: Path, masks: Path | None, out: Path, make: MakeJob, extension: str) -> list[FileJob]:
    """Return a job for each image in the folder. Makes the folder `out`."""
    jobs = [
        make(image, None if masks is None else mask_path(image, masks), result_path(image, out, extension))
        for image in images_in(images)
    ]
    if not jobs:
        raise CommandError("\n".join([f"There is no image in {images}.", *list_passed_over(images, [out])]))
    check_results_differ(jobs)
    make_folder(images, masks, out)
    return jobs


def result_path(image: Path, out: Path, extension: str) -> Path:
    return out / f"{image.stem}.{extension}"


def make_folder(images: Path, masks: Path | None, out: Path) -> None:
    """Make the folder of the results. Raises CommandError where it is one of the others."""
    if out.resolve() in {path.resolve() for path in (images, masks) if path is not None}:
        raise CommandError("The results need a folder of their own.")
    out.mkdir(parents=True, exist_ok=True)


def check_results_differ(jobs: Iterable[FileJob]) -> None:
    """Raise CommandError where two images would be painted to the same file."""
    images: dict[Path, Path] = {}
    for job in jobs:
        for result in job.results:
            other = images.setdefault(result, job.image)
            if other != job.image:
                raise CommandError(f"{other.name} and {job.image.name} would share the result {result.name}.")


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder, in order; files called NAME_mask are masks."""
    return [
        path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and not path.stem.endswith("_mask")
    ]


def conditioning_image_path(image: Path, path: Path, name: str) -> Path:
    """Return the conditioning image of that name: the given file, or NAME.png in the given folder.

    Raises InvalidRequest if it is missing.
    """
    found = path / f"{image.stem}.png" if path.is_dir() else path
    if not found.is_file():
        raise InvalidRequest(
            f"{image.name} has no {IMAGE_LABELS[name].lower()}: there is no {found}.",
            code=f"{IMAGE_LISTS[IMAGE_PLACES[name][0]].image}_missing",
            field=name,
        )
    return found


def mask_path(image: Path, masks_path: Path) -> Path:
    """Return the mask: the given file, or NAME_mask.png or NAME.png in the folder. Raises InvalidRequest if missing."""
    if masks_path.is_file():
        return masks_path
    candidates = [masks_path / f"{image.stem}_mask.png", masks_path / f"{image.stem}.png"]
    mask = next((path for path in candidates if path.is_file() and path != image), None)
    if mask is None:
        raise InvalidRequest(
            f"{image.name} has no mask: neither {candidates[0].name} nor {candidates[1].name} is in {masks_path}.",
            code="mask_required",
            field="mask",
        )
    return mask
