"""Bytes <-> pictures: what we accept, how it is read without trusting it, and how results are written without loss.

A file is never handed whole to a decoder. Its format is told by its first bytes, whatever its name; then the format's
own reader here walks the file's structure, counts and measures, and copies out only the parts that draw the first
frame. A decoder sees those parts alone: no metadata, no second frame, no trailing archive, no bomb in a text block.
"""

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.codecs.decoding import DecodedPicture, decode_picture
from inpainting.core.codecs.limits import STORED_LIMITS, PictureLimits
from inpainting.core.codecs.png_writing import encode_png
from inpainting.core.codecs.recipe import read_recipe, recipe_of
from inpainting.core.codecs.thumbnails import thumbnail_webp

__all__ = [
    "STORED_LIMITS",
    "DecodedPicture",
    "PictureLimits",
    "decode_picture",
    "encode_png",
    "read_recipe",
    "recipe_of",
    "thumbnail_webp",
    "to_rgb8",
]
