"""Results with Content Credentials, and what is in them."""

from __future__ import annotations

import io
from typing import Any

from c2pa import Context, Reader, Settings
from django.test import Client

from inpainting.core.codecs.formats import CONTENT_TYPES
from inpainting.core.credentials import LIBRARY_SETTINGS
from inpainting.models import GeneratedImage, Generation
from tests.api.painting import answer_for


def painted(client: Client, photo_png: bytes, mask_png: bytes, **fields: Any) -> str:
    """Return the address of a result by quick-fill."""
    answer = answer_for(client, photo_png, mask_png, engine="quick-fill", prompt="a secret wish", **fields)
    assert answer["status"] == "success", answer
    return f"/api/generations/{answer['id']}/images/0/"


def by_a_network(**changes: Any) -> GeneratedImage:
    """Let the newest result count as one of the erase engine with an installed model; return it."""
    generation = Generation.objects.latest("created_at")
    Generation.objects.filter(pk=generation.pk).update(
        **{"engine": "erase", "model": "migan", "ignored": [], **changes}
    )
    return GeneratedImage.objects.select_related("generation__source").get(generation=generation.pk)


def signed(client: Client, url: str, format: str = "png", query: str = "") -> bytes:
    response = client.get(f"{url}?content_credentials=true&format={format}{query}")
    assert response.status_code == 200, response.getvalue()
    return response.getvalue()


def read(data: bytes, format: str = "png") -> Reader:
    context = Context.builder().with_settings(Settings.from_dict(LIBRARY_SETTINGS)).build()
    return Reader(CONTENT_TYPES[format], io.BytesIO(data), context=context)


def manifest_of(data: bytes, format: str = "png") -> dict[str, Any]:
    """Return the manifest of a file, whose signature and hash must be right, by a signer whom nobody knows."""
    reader = read(data, format)
    results = reader.get_validation_results()
    assert results is not None
    assert [entry["code"] for entry in results["activeManifest"]["failure"]] == ["signingCredential.untrusted"]
    manifest = reader.get_active_manifest()
    assert manifest is not None
    return manifest


def last_action(manifest: dict[str, Any]) -> dict[str, Any]:
    [entry] = [entry["data"] for entry in manifest["assertions"] if entry["label"] == "c2pa.actions.v2"]
    action: dict[str, Any] = entry["actions"][-1]
    return action
