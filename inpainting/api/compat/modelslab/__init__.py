"""ModelsLab's image API (https://docs.modelslab.com): inpainting, fetching results, and uploading images."""

from inpainting.api.compat.modelslab.dialect import DIALECT

__all__ = ["DIALECT"]
