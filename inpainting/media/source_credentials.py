"""Reads the Content Credentials (C2PA) of an uploaded file, with c2pa-rs, which also verifies them.

The library parses bytes that nobody has checked. It bounds how deep boxes may be nested and how large a compressed one
may get, raises an error for what is damaged, and with LIBRARY_SETTINGS asks no server that the file names.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from dataclasses import replace
from itertools import islice

from inpainting.core.codecs import DecodedImage
from inpainting.core.codecs.intake import DEFAULT_LIMITS, MEBI, STORED_LIMITS, Intake
from inpainting.core.codecs.png.png import parse_png
from inpainting.core.credentials import LIBRARY_SETTINGS, PARENT, ingredient
from inpainting.core.metadata import SourceCredentials
from inpainting.core.sentences import Sentence, sentence

logger = logging.getLogger(__name__)

STORE = re.compile(rb"jumdc2pa")
"""The description of a manifest store: the type of the box, and the first bytes of the UUID (ISO/IEC 19566-5; C2PA
specification 2.2, section 11.1.4). Before it are the length and the type of the store, `jumb`, and its own length."""
MAX_STORES = 1000
"""How many of them are looked at: a file has one, and an attacker may repeat it."""
MAX_BYTES = 4 * MEBI
"""The limit of all manifests of a file, and of their archive."""


def with_credentials(decoded: DecodedImage, data: bytes, *, field: str = "image") -> DecodedImage:
    """Return the image with the Content Credentials of its file, and a warning where they are not valid or too large.

    data: the file. field: of the request, see `decode_image`.
    """
    places = [found.start() for found in islice(STORE.finditer(data), MAX_STORES)]
    sizes = [int.from_bytes(data[at - 12 : at - 8]) for at in places if data[at - 8 : at - 4] == b"jumb"]
    if not sizes:
        return decoded
    credentials = None
    if max(sizes) <= MAX_BYTES:
        credentials = read_credentials(data, f"image/{decoded.format.lower()}")
        if credentials is None:
            return decoded
    noun, warning = Intake(field, DEFAULT_LIMITS).noun, None
    if credentials is None or len(credentials.archive) > MAX_BYTES:
        credentials, warning = None, too_large(noun)
    elif not credentials.is_valid:
        warning = sentence("The {noun}'s Content Credentials are not valid.", noun=noun)
    image = replace(decoded.image, metadata=replace(decoded.image.metadata, credentials=credentials))
    return replace(decoded, image=image, warnings=(*decoded.warnings, *([warning] if warning else [])))


def stored_credentials(png: bytes) -> SourceCredentials | None:
    """Return those in the file of a source image that this program stored. Raises InvalidImage for a damaged file."""
    return parse_png(png, Intake("image", STORED_LIMITS)).metadata.credentials


def too_large(noun: Sentence) -> Sentence:
    return sentence(
        "The {noun}'s Content Credentials have more than {most} bytes; they were left out.", noun=noun, most=MAX_BYTES
    )


def read_credentials(data: bytes, media_type: str) -> SourceCredentials | None:
    """Return the Content Credentials of a file; None where it has none, or its format can have none.

    Those that cannot be read are not valid and have no archive.
    """
    # Loaded with the first file that has any: 23 MB that a site without them does not need.
    from c2pa import Builder, C2paError, Context, Reader, Settings

    source = ingredient(media_type, hashlib.sha256(data).hexdigest())
    archive = io.BytesIO()
    try:
        with Context.builder().with_settings(Settings.from_dict(LIBRARY_SETTINGS)).build() as context:
            with Reader(media_type, io.BytesIO(data), context=context) as reader:
                is_valid = reader.get_validation_state() != "Invalid"
            with Builder(json.dumps({}), context) as builder:
                builder.add_ingredient(json.dumps(source), media_type, io.BytesIO(data))
                builder.write_ingredient_archive(PARENT, archive)
    except (C2paError.ManifestNotFound, C2paError.NotSupported):
        return None
    except C2paError as error:
        logger.info("The Content Credentials of an image cannot be read: %s", error)
        return SourceCredentials(is_valid=False)
    return SourceCredentials(is_valid, archive.getvalue())
