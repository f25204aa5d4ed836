"""What official clients send: recorded from them, and for OpenAI, Hugging Face and MCP answered as they read it.

The tests marked `clients` run the clients themselves; the others need none of them.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.core.resizing import resize
from tests.conftest import png
from tests.support import client_programs, image_host
from tests.support.installation import Installation

NEEDS_MODEL = {
    "python_generate",
    "node_generate",
    "python_image_to_image",
    "python_text_to_image",
    "node_text_to_image",
}
REFUSED = {
    "python_white_mask": (400, "mask_has_no_alpha"),
    "python_by_words": (400, "mask_required"),
    "python_variation": (501, "not_built"),
    "python_unknown_model": (404, "model_not_found"),
    "python_wrong_key": (401, "invalid_api_key"),
}
"""The calls that are refused -> the status, and OpenAI's code."""
RECORDED = [(service, name) for service in client_programs.SERVICES for name in client_programs.stored(service)]
SCALED = {
    "python_every_field": Size(256, 256),
    "python_links": Size(256, 256),
    "python_every_parameter": Size(192, 128),
}
LOSSY = {"python_every_field"}


def send(client: Client, call: dict[str, Any], images: dict[str, bytes]) -> Any:
    """Send a recorded request with these images in the place of the recorded ones."""
    headers = {name: text for name, text in call["headers"].items() if name != "content-type"}
    content_type = call["headers"].get("content-type", "application/octet-stream")
    body = b""
    if "parts" in call:
        fields: dict[str, list[Any]] = {}
        for part in call["parts"]:
            value = part.get("value")
            if "file" in part:
                value = SimpleUploadedFile(part["filename"], images[part["file"]], part["type"])
            fields.setdefault(part["name"], []).append(value)
        content_type, body = MULTIPART_CONTENT, encode_multipart(BOUNDARY, fields)
    elif "json" in call:
        text = json.dumps(call["json"])
        for place, data in images.items():
            text = text.replace(place, base64.b64encode(data).decode())
        body = text.encode()
    elif "raw" in call:
        body = images[call["raw"]]
    return client.generic(call["method"], call["path"], body, content_type=content_type, headers=headers)


def results(answer: Any) -> list[NDArray[np.uint8]]:
    """The images of an answer, in whichever form."""
    if answer["Content-Type"] == "image/png":
        found = [answer.content]
    elif answer["Content-Type"] == "text/event-stream":
        lines = [line for line in answer.content.decode().splitlines() if line.startswith("data: ")]
        found = [base64.b64decode(json.loads(line.removeprefix("data: "))["b64_json"]) for line in lines]
    else:
        found = [image_data(image) for image in answer.json()["data"]]
    return [np.asarray(Image.open(BytesIO(image)).convert("RGB")) for image in found]


def image_data(image: dict[str, str]) -> bytes:
    """The bytes of an image of OpenAI's API, which is a link or base64."""
    if "b64_json" in image:
        return base64.b64decode(image["b64_json"])
    return bytes(Client().get(image["url"].removeprefix("http://testserver")).getvalue())


def check_outside(painted: NDArray[np.uint8], photo: NDArray[np.uint8], hole: NDArray[np.uint8], name: str) -> None:
    """Check that nothing outside of the mask has changed, and enough inside of it."""
    size = SCALED.get(name, Size(photo.shape[1], photo.shape[0]))
    scaled = resize(CanonicalImage(photo), size).pixels
    assert painted.shape == scaled.shape
    where = np.asarray(Image.fromarray(hole).resize((size.width, size.height), Image.Resampling.BOX)) > 0
    difference = np.abs(painted.astype(int) - scaled).max(axis=2)
    if name in LOSSY:
        assert np.median(difference[~where]) <= 4
    elif name in SCALED:  # the mask is scaled in another way, and covers a pixel more at its edge
        assert np.count_nonzero(difference[~where]) < np.count_nonzero(where) / 4
    else:
        assert np.count_nonzero(difference[~where]) == 0
        assert np.count_nonzero(difference[where]) > np.count_nonzero(where) / 4


def check_message(answer: Any, call: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    """Check the response to a message of the Model Context Protocol."""
    if call["headers"]["authorization"] == "Bearer wrong":
        assert (answer.status_code, "error" in answer.json()) == (401, True)
        return
    if "id" not in call["json"]:
        assert (answer.status_code, answer.content) == (202, b"")
        return
    assert answer.status_code == 200, answer.content
    result, is_newest = answer.json()["result"], call["headers"].get("mcp-protocol-version") == "2026-07-28"
    assert ("resultType" in result) == is_newest
    if call["json"]["method"] != "tools/call":
        return
    has_mask = "mask" in call["json"]["params"]["arguments"]
    assert result["isError"] == (not has_mask), result
    if has_mask:
        link = next(part["uri"] for part in result["content"] if part["type"] == "resource_link")
        check_outside(np.asarray(Image.open(BytesIO(image_data({"url": link})))), photo, hole, "")


def is_refused(name: str, service: str) -> int | None:
    """The status of a call that is refused where there is no model."""
    if name in NEEDS_MODEL:
        return 424 if service == "huggingface" else 503
    return REFUSED[name][0] if name in REFUSED else None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("service", "name"), RECORDED)
def test_a_recorded_request_is_answered_as_its_client_reads_it(
    alices_key: str, photo: NDArray[np.uint8], hole: NDArray[np.uint8], service: str, name: str
) -> None:
    call = json.loads(json.dumps(client_programs.stored(service)[name]).replace("{key}", alices_key))
    alpha = np.dstack([photo, 255 - hole])
    answer = send(Client(), call, {"{photo}": png(photo), "{mask}": png(hole), "{alpha}": png(alpha)})
    if service == "mcp":
        check_message(answer, call, photo, hole)
        return
    status = is_refused(name, service)
    if status is not None:
        assert answer.status_code == status, answer.content
        assert isinstance(answer.json()["error"], dict if service == "openai" else str)
        return
    assert answer.status_code == 200, answer.content
    if call["method"] == "GET":
        assert answer.json()["object"] in ("list", "model")
    elif call["path"].endswith(("image-to-text", "image-segmentation")):
        assert answer.json()
    else:
        images = results(answer)
        assert len(images) == (2 if name == "python_every_field" else 1)
        for image in images:
            check_outside(image, photo, hole, name)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("service", "name"), [call for call in RECORDED if call[1] in NEEDS_MODEL])
def test_with_a_model_the_rest_is_painted_too(
    alices_key: str,
    photo: NDArray[np.uint8],
    diffusion_requests: list[InpaintRequest],
    service: str,
    name: str,
) -> None:
    call = json.loads(json.dumps(client_programs.stored(service)[name]).replace("{key}", alices_key))
    assert len(results(send(Client(), call, {"{photo}": png(photo)}))) == 1
    assert diffusion_requests[0].settings.prompt in ("a", "a cat", "a lawn")


@pytest.mark.clients
@pytest.mark.parametrize(
    ("service", "program"),
    [(service, program) for service, programs in client_programs.RECORDED.items() for program in programs],
)
def test_the_clients_send_what_is_recorded(tmp_path: Path, service: str, program: str) -> None:
    stored = client_programs.stored(service)
    for name, call in client_programs.record(program, tmp_path).items():
        assert call == stored[name], name


@pytest.mark.clients
@pytest.mark.parametrize(
    ("service", "program"),
    [(service, program) for service, programs in client_programs.SERVICES.items() for program in programs],
)
def test_the_clients_read_the_answers(
    site: Installation, site_key: str, tmp_path: Path, service: str, program: str
) -> None:
    client_programs.write_images(tmp_path)
    photo, hole = np.asarray(image_host.photo()), np.asarray(image_host.mask())
    for name, found in client_programs.run(program, site.url, site_key, tmp_path).items():
        status = is_refused(name, service)
        if status is not None:
            assert found["status"] == status, (name, found)
            assert service != "openai" or found["request_id"]
            assert service != "openai" or name in NEEDS_MODEL or found["code"] == REFUSED[name][1]
            continue
        if service == "mcp":
            assert found[0] == f"{name}-0"
            assert {"erase", "select", "image/webp", "error: True"} <= set(found)
        assert found, name
        assert isinstance(found, list), (name, found)
        for file in [tmp_path / entry for entry in found if entry.startswith(name)]:
            check_outside(np.asarray(Image.open(file).convert("RGB")), photo, hole, name)
