"""Decodes uploaded image files without trusting them, encodes results without loss, and lossy copies of them.

A decoder never gets a whole file. The format is recognised by its first bytes, not by the file's name; then that
format's parser walks the file's structure, counts and measures it, and copies out only the parts that the first frame
is decoded from. So a decoder sees no metadata, no second frame, no trailing archive, no bomb in a text chunk.
"""

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.codecs.decoding import DecodedImage, decode_image, inspect_image
from inpainting.core.codecs.intake import STORED_LIMITS, IntakeLimits
from inpainting.core.codecs.png.text import generation_parameters, read_png_texts, replace_png_texts
from inpainting.core.codecs.png.writing import encode_png
from inpainting.core.codecs.thumbnails import shrunk, thumbnail_webp

__all__ = [
    "STORED_LIMITS",
    "DecodedImage",
    "IntakeLimits",
    "decode_image",
    "encode_png",
    "generation_parameters",
    "inspect_image",
    "read_png_texts",
    "replace_png_texts",
    "shrunk",
    "thumbnail_webp",
    "to_rgb8",
]
