"""Deep-Image's API: inpainting and outpainting (https://documentation.deep-image.ai)."""

from inpainting.api.compat.deep_image.dialect import DIALECT

__all__ = ["DIALECT"]
