"""Bytes to a canonical picture: one function, the same for every surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inpainting.core.codecs import gif, jpeg, png, webp
from inpainting.core.codecs.anatomy import Anatomy, Undrawable, turned_upright
from inpainting.core.codecs.colour import fits
from inpainting.core.codecs.limits import ACCEPTED, LIMITS, Door, PictureLimits
from inpainting.core.codecs.sniffing import format_of, kind_of
from inpainting.core.picture import Picture

READERS: dict[str, Callable[[bytes, Door], Anatomy]] = {
    "PNG": png.read_png,
    "JPEG": jpeg.read_jpeg,
    "WEBP": webp.read_webp,
    "GIF": gif.read_gif,
}


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPicture:
    """A canonical picture, the format it came in ("PNG", "JPEG", "WEBP" or "GIF") and what was changed on the way."""

    picture: Picture
    format: str
    warnings: tuple[str, ...] = ()


def decode_picture(data: bytes, *, field: str = "image", limits: PictureLimits = LIMITS) -> DecodedPicture:
    """Read a PNG, JPEG, WebP or GIF, whatever its name was, as the canonical picture: upright, L, LA, RGB or RGBA.

    8 or 16 bits a channel, alpha and the colour profile stay as they were; all other metadata is left behind. Palette
    and CMYK are converted, of several frames the first is taken, a profile that does not fit is left out: each with a
    warning. `field` is the request's field the bytes came in; errors name it.

    Raises InvalidPicture, before any pixel is decoded where it can: `image_empty`, `image_too_large`,
    `image_type_unsupported`, `image_dimensions`, `image_too_small`, `image_too_complex`, `image_damaged`, or the same
    with `mask_`.
    """
    door = Door(field, limits)
    if not data:
        raise door.refusal("empty", "file is empty.")
    if len(data) > limits.max_bytes:
        raise door.refusal(
            "too_large",
            f"file has {len(data)} bytes; at most {limits.max_bytes} are allowed.",
            limit=limits.max_bytes,
            actual=len(data),
        )
    format = format_of(data)
    if format is None:
        kind = kind_of(data)
        raise door.refusal("type_unsupported", f"file is {kind}; send {ACCEPTED}.", limit=ACCEPTED, actual=kind)

    anatomy = READERS[format](data, door)
    warnings = list(anatomy.warnings)
    profile = anatomy.icc_profile
    if profile is not None and not fits(profile, anatomy.profile_space):
        warnings.append(f"The {door.noun}'s colour profile is damaged or does not fit its pixels; it was left out.")
        profile = None
    try:
        pixels = anatomy.draw()
    except Undrawable as error:
        raise door.damaged(f"it ends early or is corrupt ({error})") from error
    if (pixels.shape[1], pixels.shape[0]) != (anatomy.size.width, anatomy.size.height):
        raise door.damaged("its sizes contradict each other")
    return DecodedPicture(Picture(turned_upright(pixels, anatomy.orientation), profile), format, tuple(warnings))
