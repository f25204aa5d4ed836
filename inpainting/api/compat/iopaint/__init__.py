"""The API of IOPaint 1.6 (https://github.com/Sanster/IOPaint), as its web app and scripts call it, and that app."""

from inpainting.api.compat.iopaint.dialect import DIALECT

__all__ = ["DIALECT"]
