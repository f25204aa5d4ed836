"""Control images that were not sent, computed from the photo by models of the catalog."""

from __future__ import annotations

from inpainting.catalog import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.image import CanonicalImage
from inpainting.networks.cache import loaded_models


def control_image(specs: tuple[ModelSpec, ...], image: CanonicalImage) -> CanonicalImage:
    """Compute a control image of the image's size. specs: the model that does, then those that it needs.

    Raises EngineFailed where a model cannot be loaded or finds nothing to draw.
    """
    implementation = families.get(specs[0].family).load_implementation()
    loaded = [loaded_models.of(spec) for spec in specs]
    return CanonicalImage(implementation.control_image(loaded[0], to_rgb8(image), *loaded[1:]))
