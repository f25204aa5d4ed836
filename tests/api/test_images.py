"""Every way to send an image and every way to download one."""

from __future__ import annotations

import hashlib
import socket
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.test import AsyncClient, Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import User
from inpainting.api.concurrency_limits import limit_fetches
from inpainting.api.media.links import SIGNER
from inpainting.core.codecs import decode_image
from inpainting.core.errors import InvalidRequest
from inpainting.media.streaming import IteratorResponse
from inpainting.models import Generation
from tests.api.bodies import data_url, shape_c, text
from tests.net.fake_network import Listener
from tests.net.fake_network import answer as net_answer

pytestmark = pytest.mark.django_db(transaction=True)

Generate = Callable[..., Generation]
PUBLIC = "https://pictures.example/photo.png"


class Network:
    """Stand-in for `download_image`: the files by URL, and the recorded calls."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requested: list[tuple[str, str, int]] = []

    def __call__(self, url: str, *, field: str, policy: Any) -> bytes:
        self.requested.append((url, field, policy.max_bytes))
        if url not in self.files:
            raise InvalidRequest("no", code="url_not_allowed", field=field)
        return self.files[url]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr("inpainting.api.images.download_image", network)
    return network


def post_inpaint(client: Client, image: bytes, mask: bytes, /, **changes: Any) -> Any:
    return client.post("/api/img2img", shape_c(image, mask, **changes), content_type="application/json")


def wrapped(data: bytes) -> str:
    """Base64 in lines of 76 characters, as in MIME."""
    bare = text(data)
    return "\r\n".join(bare[start : start + 76] for start in range(0, len(bare), 76))


@pytest.mark.parametrize(
    "write",
    [
        text,
        data_url,
        wrapped,
        lambda data: f"  {text(data)}\n",
        lambda data: f"data:;base64,{text(data)}",
        lambda data: f"DATA:image/jpeg;charset=x;BASE64,{text(data)}",
    ],
)
def test_base64_is_read_with_any_wrapping(
    alices_program: Client, photo_png: bytes, mask_png: bytes, write: Callable[[bytes], str]
) -> None:
    assert (
        post_inpaint(
            alices_program, photo_png, mask_png, input_image=write(photo_png), mask=write(mask_png)
        ).status_code
        == 200
    )


@pytest.mark.parametrize("field", ["input_image", "mask"])
@pytest.mark.parametrize(
    "broken",
    [
        lambda data: text(data).rstrip("=") + "=====",
        lambda data: text(data)[:-1],
        lambda data: text(data)[:40] + "!" + text(data)[41:],
        lambda data: "é" * 100,
        lambda data: f"data:image/png,{text(data)}",
        lambda data: "data:image/png;base64",
        lambda data: "file:///etc/passwd",
        lambda data: "ftp://pictures.example/a.png",
    ],
)
def test_invalid_base64_is_refused(
    alices_program: Client,
    photo_png: bytes,
    mask_png: bytes,
    network: Network,
    field: str,
    broken: Callable[[bytes], str],
) -> None:
    data = photo_png + b"\0" * (-(len(photo_png) - 1) % 3)  # pads the data so that its base64 ends with one =
    answer = post_inpaint(alices_program, photo_png, mask_png, **{field: broken(data)})
    noun = "mask" if field == "mask" else "image"
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, f"{noun}_base64_invalid", field)
    assert network.requested == []


def test_an_image_is_measured_before_it_is_decoded(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.api.images.base64.b64decode", None)
    answer = post_inpaint(alices_program, photo_png, mask_png, input_image="A" * (44 * 2**20))
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (413, "image_too_large", "input_image")
    assert (problem["limit"], problem["actual"]) == (32 * 2**20, 33 * 2**20)


def test_an_external_image_is_fetched_by_download_image(
    alices_program: Client, photo_png: bytes, mask_png: bytes, network: Network
) -> None:
    network.files = {PUBLIC: photo_png, PUBLIC + "?mask": mask_png}
    answer = post_inpaint(alices_program, photo_png, mask_png, input_image=PUBLIC, mask=PUBLIC + "?mask")
    assert answer.status_code == 200
    assert network.requested == [(PUBLIC, "input_image", 32 * 2**20), (PUBLIC + "?mask", "mask", 10 * 2**20)]
    refused = post_inpaint(alices_program, photo_png, mask_png, input_image="http://169.254.169.254/")
    assert (refused.status_code, refused.json()["code"]) == (400, "url_not_allowed")


def test_concurrent_fetches_of_one_user_are_limited(
    alices_key: str, bobs_key: str, photo_png: bytes, mask_png: bytes, settings: Settings
) -> None:
    """A real server holds every request until the test lets it answer."""
    arrived, go = threading.Semaphore(0), threading.Event()

    def slow(visitor: socket.socket, request: bytes) -> None:
        arrived.release()
        assert go.wait(20)
        elsewhere(visitor, request)

    def call(key: str) -> Any:
        try:
            url = f"http://127.0.0.1:{server.port}/photo.png"
            return post_inpaint(Client(headers={"X-API-Key": key}), photo_png, mask_png, input_image=url)
        finally:
            connection.close()

    elsewhere = net_answer("200 OK", photo_png)
    with Listener(slow) as server, ThreadPoolExecutor(8) as callers:
        settings.ALLOWED_NETWORKS, settings.ALLOWED_PORTS = [ip_network("127.0.0.0/8")], [server.port]
        settings.FETCHES_PER_USER = 4
        try:
            waiting = [callers.submit(call, alices_key) for _ in range(4)]
            for _ in waiting:
                assert arrived.acquire(timeout=20)
            refused = call(alices_key)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            assert (refused.json()["limit"], refused.json()["actual"], refused["Retry-After"]) == (4, 4, "2")
            waiting.append(callers.submit(call, bobs_key))
            assert arrived.acquire(timeout=20)
        finally:
            go.set()
        assert [caller.result().status_code for caller in waiting] == [200] * 5
        assert call(alices_key).status_code == 200
        assert server.visitors() == 6
    assert not limit_fetches.active


@pytest.mark.parametrize("host", ["", "http://testserver", "https://testserver:8443", "http://localhost:8000"])
def test_our_own_links_are_read_from_storage_and_never_fetched(
    alice: User,
    alices_program: Client,
    generate: Generate,
    photo: NDArray[np.uint8],
    photo_png: bytes,
    mask_png: bytes,
    network: Network,
    host: str,
) -> None:
    earlier = generate(alice)
    image = earlier.images.get()
    links = [
        f"{host}/api/generations/{earlier.pk}/source/",
        f"{host}/api/generations/{earlier.pk}/images/0/",
        f"{host}/images/{SIGNER.sign(image.pk.hex)}.png",
        f"{host}/api/images/{SIGNER.sign(image.pk.hex)}.png",
    ]
    for link in links:
        answer = post_inpaint(alices_program, photo_png, mask_png, input_image=link)
        assert answer.status_code == 200, link
        source = Generation.objects.get(pk=answer.json()["id"]).source.read().pixels
        assert np.array_equal(source, photo if link.endswith("source/") else image.read().pixels)
    mask = f"{host}/api/generations/{earlier.pk}/mask/"
    assert (
        post_inpaint(alices_program, photo_png, mask_png, mask=mask, mask_polarity="white_repaints").status_code == 200
    )
    assert network.requested == []


@pytest.mark.parametrize("host", ["", "http://testserver"])
def test_our_own_links_to_foreign_and_missing_images_are_refused_alike(
    alice: User,
    bobs_program: Client,
    generate: Generate,
    photo_png: bytes,
    mask_png: bytes,
    network: Network,
    host: str,
) -> None:
    theirs = generate(alice)
    token = SIGNER.sign(theirs.images.get().pk.hex)
    answers = set()
    for path in (
        f"/api/generations/{theirs.pk}/source/",
        f"/api/generations/{theirs.pk}/images/0/",
        f"/api/generations/{theirs.pk}/images/7/",
        "/api/generations/0b0c7c1e-0000-4000-8000-000000000000/source/",
        f"/images/{token}.png",
        f"/images/{token[:-1]}.png",
    ):
        answer = post_inpaint(bobs_program, photo_png, mask_png, input_image=host + path)
        answers.add((answer.status_code, answer.content))
    assert len(answers) == 1
    assert answers.pop()[0] == 400
    assert network.requested == []


def test_our_own_link_to_a_missing_file_is_refused(
    alice: User, alices_program: Client, generate: Generate, photo_png: bytes, mask_png: bytes
) -> None:
    generation = generate(alice)
    Path(settings.DATA_DIR, "pictures", str(generation.source.file.name)).unlink()
    answer = post_inpaint(alices_program, photo_png, mask_png, input_image=f"/api/generations/{generation.pk}/source/")
    assert (answer.status_code, answer.json()["code"]) == (400, "url_not_allowed")


# Downloading


@pytest.fixture
def url(alice: User, generate: Generate) -> str:
    return f"/api/generations/{generate(alice).pk}/images/0/"


@pytest.mark.parametrize("accept", ["image/png", "image/*", "image/webp,image/avif", "text/html", "nonsense", "*/*"])
def test_an_image_is_served_for_any_accept_header(alices_program: Client, url: str, accept: str) -> None:
    assert alices_program.get(url, headers={"Accept": accept})["Content-Type"] == "image/png"
    missing = alices_program.get(url.replace("images/0", "images/9"), headers={"Accept": accept})
    assert (missing.status_code, missing.json()["status"]) == (404, "error")
    link = Client().get("/images/made-up.png", headers={"Accept": accept})
    assert (link.status_code, link.json()["message"]) == (404, "Image not found")


def test_a_signed_link_also_works_below_api(alice: User, generate: Generate) -> None:
    token = SIGNER.sign(generate(alice).images.get().pk.hex)
    assert Client().get(f"/api/images/{token}.png").getvalue() == Client().get(f"/images/{token}.png").getvalue()
    assert Client().get("/api/images/made-up.png").json() == {
        "status": "error",
        "message": "Image not found",
        "code": "not_found",
    }


def test_an_unchanged_image_is_a_304(alices_program: Client, url: str) -> None:
    first = alices_program.get(url)
    again = alices_program.get(url, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.getvalue(), again["ETag"]) == (304, b"", first["ETag"])
    assert alices_program.get(url, headers={"If-None-Match": '"other"'}).getvalue() == first.getvalue()
    assert first["ETag"] != alices_program.get(url.replace("images/0", "source"))["ETag"]


@pytest.mark.parametrize(
    ("requested", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-10", slice(-10, None)),
        ("bytes=5-99999999", slice(5, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
def test_a_byte_range_of_an_image_can_be_fetched(alices_program: Client, url: str, requested: str, part: slice) -> None:
    first = alices_program.get(url)
    assert first["Accept-Ranges"] == "bytes"
    whole = first.getvalue()
    answer = alices_program.get(url, headers={"Range": requested})
    assert (answer.status_code, answer.getvalue()) == (206, whole[part])
    start, end, size = part.indices(len(whole))[0], part.indices(len(whole))[1] - 1, len(whole)
    assert answer["Content-Range"] == f"bytes {start}-{end}/{size}"
    assert answer["Content-Length"] == str(len(whole[part]))
    resumed = alices_program.get(url, headers={"Range": requested, "If-Range": '"another file"'})
    assert (resumed.status_code, resumed.getvalue()) == (200, whole)


@pytest.mark.parametrize("requested", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_file_is_refused(alices_program: Client, url: str, requested: str) -> None:
    answer = alices_program.get(url, headers={"Range": requested})
    size = len(alices_program.get(url).getvalue())
    assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{size}")
    assert answer.json()["code"] == "range_invalid"


@pytest.mark.parametrize("requested", ["bytes=-", "bytes=9-2", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b", "bytes=²-3"])
def test_an_invalid_range_is_ignored(alices_program: Client, url: str, requested: str) -> None:
    assert alices_program.get(url, headers={"Range": requested}).status_code == 200


def test_ranges_together_are_the_whole_image(alices_program: Client, url: str) -> None:
    halves = [
        alices_program.get(url, headers={"Range": requested}).getvalue() for requested in ("bytes=0-99", "bytes=100-")
    ]
    assert decode_image(b"".join(halves)).format == "PNG"


def test_a_head_request_has_the_size_of_the_image(alices_program: Client, url: str) -> None:
    answer = alices_program.get(url)
    bare = alices_program.head(url, headers={"Range": "bytes=0-9"})
    assert (bare.status_code, bare.getvalue()) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Accept-Ranges", "Cache-Control"):
        assert bare[name] == answer[name]
    assert bare["Content-Length"] == str(len(answer.getvalue()))


async def test_a_large_image_is_never_loaded_whole(
    alice: User, alices_key: str, generate: Callable[..., Generation]
) -> None:
    """Also under ASGI, where Django would collect everything that a synchronous iterator yields."""
    image = (await sync_to_async(generate)(alice)).images
    path = Path((await image.aget()).file.path)
    whole = np.random.default_rng(5).bytes(24 * 2**20)
    path.write_bytes(whole)
    url, headers = f"/api/generations/{(await image.aget()).generation_id}/images/0/", {"X-API-Key": alices_key}
    for requested, part in (({}, slice(0, None)), ({"Range": "bytes=7-"}, slice(7, None))):
        tracemalloc.start()
        answer = await AsyncClient().get(url, headers={**headers, **requested})
        assert isinstance(answer, IteratorResponse)
        digest = hashlib.sha256()
        async for piece in answer:
            digest.update(piece)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert digest.digest() == hashlib.sha256(whole[part]).digest()
        assert peak_bytes < 4 * 2**20
