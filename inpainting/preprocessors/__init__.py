"""Control images that were not sent, computed from the photo by models of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from inpainting.catalog import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.image import CanonicalImage
from inpainting.engines.base import Plan
from inpainting.engines.conditioning_images import images_to_compute
from inpainting.engines.loaded_models import loaded_models
from inpainting.keepalive import run_in_thread


def computed_images(plan: Plan, keepalive: Callable[[], None]) -> tuple[dict[str, CanonicalImage], list[str]]:
    """The missing control images of a plan by their names, at the size of its image; and a note about each.

    keepalive: called meanwhile, see `run_in_thread`.
    Raises EngineFailed, see `control_image`.
    """
    wanted = images_to_compute(plan, plan.images)
    images = {
        specs: run_in_thread(partial(control_image, specs, plan.request.image), keepalive)
        for specs in dict.fromkeys(wanted.values())
    }
    notes = [
        f"{name} was not sent: {' and '.join(spec.label for spec in specs)} computed it from the image."
        for name, specs in wanted.items()
    ]
    return {name: images[specs] for name, specs in wanted.items()}, notes


def control_image(specs: tuple[ModelSpec, ...], image: CanonicalImage) -> CanonicalImage:
    """Compute a control image of the image's size. specs: the model that does, then those that it needs.

    Raises EngineFailed where a model cannot be loaded or finds nothing to draw.
    """
    implementation = families.get(specs[0].family).load_implementation()
    loaded = [loaded_models.of(spec) for spec in specs]
    return CanonicalImage(implementation.control_image(loaded[0], to_rgb8(image), *loaded[1:]))
