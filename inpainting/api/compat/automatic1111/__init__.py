"""AUTOMATIC1111's web API, `/sdapi/v1`: img2img with a mask, txt2img, enlarging, progress, lists of models."""

from inpainting.api.compat.automatic1111.dialect import DIALECT

__all__ = ["DIALECT"]
