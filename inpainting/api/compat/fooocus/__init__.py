"""FooocusAPI v2.5 (github.com/mrhan1993/FooocusAPI): inpainting, outpainting, text-to-image, and tasks."""

from inpainting.api.compat.fooocus.dialect import DIALECT

__all__ = ["DIALECT"]
