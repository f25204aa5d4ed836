"""Photos with Content Credentials, as a camera signs them."""

from __future__ import annotations

import io
import json
from typing import Any

from c2pa import Builder, C2paSignerInfo, Context, Settings, Signer
from PIL import Image
from skimage import data as photos

from inpainting.core.credentials import LIBRARY_SETTINGS, VOCABULARY, actions
from inpainting.media.signing import SigningIdentity, derive_identity

STORE = b"jumdc2pa"
CAMERA = derive_identity("a camera")


def signed_photo(
    format: str, *assertions: dict[str, Any], remote_url: str = "", identity: SigningIdentity = CAMERA
) -> bytes:
    """Return a photo of 96x64 pixels with a manifest of the program "Acme One".

    assertions: more of them. remote_url: the manifest is not in the file, which names this address of it.
    """
    plain = io.BytesIO()
    Image.fromarray(photos.astronaut()[:64, :96]).save(plain, format)
    return sign(plain.getvalue(), format, *assertions, remote_url=remote_url, identity=identity)


def sign(
    data: bytes, format: str, *assertions: dict[str, Any], remote_url: str = "", identity: SigningIdentity = CAMERA
) -> bytes:
    """Return a file with such a manifest."""
    signed, media_type = io.BytesIO(), f"image/{format}"
    taken = actions({"action": "c2pa.created", "digitalSourceType": f"{VOCABULARY}digitalCapture"})
    manifest = {
        "claim_generator_info": [{"name": "Acme One"}],
        "format": media_type,
        "assertions": [taken, *assertions],
    }
    info = C2paSignerInfo(identity.algorithm.encode(), identity.chain, identity.private_key, None)
    context = Context.builder().with_settings(Settings.from_dict(LIBRARY_SETTINGS)).build()
    with context, Signer.from_info(info) as signer, Builder(json.dumps(manifest), context) as builder:
        if remote_url:
            builder.set_no_embed()
            builder.set_remote_url(remote_url)
        builder.sign(signer, media_type, io.BytesIO(data), signed)
    return signed.getvalue()


def store_of(data: bytes) -> slice:
    """Return where the manifest store of a file is, which is in one piece."""
    start = data.index(STORE) - 12
    return slice(start, start + int.from_bytes(data[start : start + 4]))


def with_changed_credentials(data: bytes) -> bytes:
    """Return the file with another byte in the middle of its manifests."""
    changed, place = bytearray(data), store_of(data)
    changed[(place.start + place.stop) // 2] ^= 1
    return bytes(changed)
