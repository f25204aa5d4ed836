"""Control images that were not sent, computed from the photo by models of the catalog."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.image import CanonicalImage
from inpainting.networks.device.choice import or_on_cpu
from inpainting.networks.network_cache import network_cache


def control_image(specs: tuple[ModelSpec, ...], image: CanonicalImage) -> CanonicalImage:
    """Compute a control image of the image's size. specs: the model that does, then those that it needs.

    Raises EngineFailed where a model cannot be loaded or finds nothing to draw.
    """
    implementation, pixels = families.get(specs[0].family).load_implementation(), to_rgb8(image)

    def compute() -> NDArray[np.uint8]:
        network, *needed = (network_cache.of(spec) for spec in specs)
        control: NDArray[np.uint8] = implementation.control_image(network, pixels, *needed)
        return control

    return CanonicalImage(or_on_cpu(compute))
