"""Control images that were not sent, computed from the photo by models of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from inpainting.catalog import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.keepalive import run_in_thread
from inpainting.core.picture import Picture
from inpainting.engines.base import Plan
from inpainting.engines.conditioning_images import images_to_compute
from inpainting.engines.loaded_models import loaded_models


def computed_images(plan: Plan, keepalive: Callable[[], None]) -> tuple[dict[str, Picture], list[str]]:
    """The missing control images of a plan by their names, at the size of its image; and a note about each.

    keepalive: called meanwhile, see `run_in_thread`.
    Raises EngineFailed where a model cannot be loaded.
    """
    wanted = images_to_compute(plan, plan.images)
    by_slug = {
        slug: run_in_thread(partial(control_image, spec, plan.request.image), keepalive)
        for slug, spec in {spec.slug: spec for spec in wanted.values()}.items()
    }
    notes = [f"{name} was not sent: {spec.label} computed it from the image." for name, spec in wanted.items()]
    return {name: by_slug[spec.slug] for name, spec in wanted.items()}, notes


def control_image(spec: ModelSpec, picture: Picture) -> Picture:
    """Compute a control image of the picture's size. Raises EngineFailed where the model cannot be loaded."""
    implementation = families.get(spec.family).load_implementation()
    return Picture(implementation.control_image(loaded_models.of(spec), to_rgb8(picture)))
