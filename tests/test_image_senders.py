"""Images that nginx or the bucket sends, after the web process has checked the request."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest
from django.test import Client, RequestFactory

from accounts.models import User
from dreamlayer_site.scale_checks import images_can_be_sent
from dreamlayer_site.service_urls import storage_settings
from inpainting.api.media.links import public_image_url
from inpainting.generations import shares
from inpainting.models import Generation
from tests.api.signed_results import by_a_network, manifest_of
from tests.support.installation import ROOT, Installation
from tests.support.services import S3, nginx, s3_server

Generate = Callable[..., Generation]


@pytest.fixture
def bucket(settings: Any) -> Iterator[S3]:
    with s3_server() as s3:
        default = storage_settings(s3.url, default_folder=Path("/unused"))
        settings.STORAGES = {**settings.STORAGES, "default": default}
        settings.IMAGES_SENT_BY = "bucket"
        yield s3
        s3.empty()


def fetch(url: str, **headers: str) -> tuple[int, Any, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_a_signed_link_redirects_to_the_private_bucket_for_a_minute(
    bucket: S3, alice: User, alices_program: Client, generate: Generate
) -> None:
    generation = generate(alice)
    file = generation.images.get().file
    path = urlsplit(public_image_url(generation.images.get(), RequestFactory().get("/"))).path
    answer = Client().get(path)
    assert (answer.status_code, answer["Cache-Control"]) == (302, "private, no-store")
    assert "X-Amz-Expires=60" in answer["Location"]
    status, headers, data = fetch(answer["Location"])
    with file.open("rb") as stored:
        assert (status, headers["Content-Type"], data) == (200, "image/png", stored.read())
    assert headers["Cache-Control"] == "private, no-store"
    for sent_here in (
        Client().get(path, headers={"Sec-Fetch-Site": "same-origin"}),
        alices_program.get(f"/api/generations/{generation.pk}/images/0/"),
    ):
        assert b"".join(sent_here.streaming_content) == data  # type: ignore[attr-defined]
    assert Client().head(path).status_code == 200
    assert Client().get(path.replace(".png", "x.png")).status_code == 404
    bucket.client.delete_object(Bucket=bucket.name, Key=str(file.name))
    assert Client().get(path).status_code == 410
    bucket.fault = (503, "SlowDown")
    assert Client().get(path).status_code == 503


def test_a_shared_link_redirects_to_the_signed_copy_in_the_bucket(bucket: S3, alice: User, generate: Generate) -> None:
    generate(alice)
    image = by_a_network()
    picture = f"/shared/{shares.token(shares.share(image, days=1))}/picture/"
    locations = [Client().get(picture)["Location"] for _ in range(2)]
    image.refresh_from_db()
    for location in locations:
        assert urlsplit(location).path == f"/{bucket.name}/{image.signed_file.name}"
    status, headers, data = fetch(locations[0])
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert headers["Content-Disposition"].startswith("attachment")
    manifest_of(data)
    status, again, part = fetch(locations[1], Range="bytes=10-19", **{"If-Range": headers["ETag"]})
    assert (status, again["ETag"], part) == (206, headers["ETag"], data[10:20])
    bucket.client.delete_object(Bucket=bucket.name, Key=str(image.signed_file.name))
    manifest_of(fetch(Client().get(picture)["Location"])[2])
    bucket.fault = (503, "SlowDown")
    assert Client().get(picture).status_code == 503


def test_nobody_else_gets_an_address_in_the_bucket(
    bucket: S3, alice: User, alices_program: Client, bobs_program: Client, generate: Generate
) -> None:
    """Foreign, missing, guessed and altered ones are refused alike, before the bucket is asked."""
    generation = generate(alice)
    image, request = generation.images.get(), RequestFactory().get("/")
    link = urlsplit(public_image_url(image, request)).path
    bucket.requests.clear()
    one = f"/api/generations/{generation.pk}"
    paths = [
        f"{one}/images/0/",
        f"{one}/source/",
        f"{one}/mask/",
        f"{one}/images/0/thumbnail/",
        f"{one}/source/preview/",
    ]
    missing = [path.replace(str(generation.pk), str(uuid4())) for path in paths]
    guessed = [f"/images/{image.file.name}", f"/pictures/{image.file.name}", f"/media/{image.file.name}"]
    folder, _, name = link.rpartition("/")
    token, _, extension = name.rpartition(".")
    altered = [f"{folder}/{changed}.{extension}" for changed in (token[:-1], token[1:], token[::-1], token.swapcase())]
    foreign = [bobs_program.get(path) for path in [*paths, *missing]]
    assert {answer.status_code for answer in foreign} == {404}
    assert len({answer.content for answer in foreign}) == 1
    for path in [*guessed, *altered]:
        for client in (Client(), bobs_program, alices_program):
            assert client.get(path).status_code == 404, path
    assert not any("Location" in answer for answer in foreign)
    assert bucket.requests == []
    assert alices_program.delete(f"{one}/").status_code == 204
    assert Client().get(link).status_code in (404, 410)
    assert not [path for method, path, _ in bucket.requests if method == "GET"]


def test_an_address_in_the_bucket_is_of_one_object_and_one_minute(bucket: S3, alice: User, generate: Generate) -> None:
    """What is signed names the object, the method, the time and the headers of the answer (AWS Signature Version 4)."""
    images = [generate(alice).images.get(), generate(alice).images.get()]
    locations = [
        urlsplit(Client().get(urlsplit(public_image_url(image, RequestFactory().get("/"))).path)["Location"])
        for image in images
    ]
    fields = [dict(parse_qsl(location.query)) for location in locations]
    assert [location.path for location in locations] == [f"/{bucket.name}/{image.file.name}" for image in images]
    assert fields[0]["X-Amz-Signature"] != fields[1]["X-Amz-Signature"]
    for values in fields:
        assert int(values["X-Amz-Expires"]) == 60
        assert values["X-Amz-SignedHeaders"] == "host"
        assert values["response-content-type"] == "image/png"


@pytest.mark.parametrize(
    ("sender", "url", "behind_tls", "reason"),
    [
        ("bucket", "", True, "the images are not in a bucket"),
        ("bucket", "s3://K:S@host/bucket", False, "share pages need https for it"),
        ("nginx", "s3://K:S@host/bucket", True, "the images are in a bucket, and nginx sends files"),
        ("apache", "", True, "there is no such choice"),
        ("nginx", "file:///srv/pictures", False, None),
        ("bucket", "s3://K:S@host/bucket", True, None),
    ],
)
def test_a_sender_that_cannot_send_the_images_is_refused(
    settings: Any, sender: str, url: str, behind_tls: bool, reason: str | None
) -> None:
    settings.IMAGES_SENT_BY, settings.STORAGE_URL, settings.BEHIND_TLS = sender, url, behind_tls
    errors = images_can_be_sent(None)
    assert [str(error.msg).rpartition(": ")[2] for error in errors] == ([f"{reason}."] if reason else [])


def test_nginx_sends_files_after_the_web_process_has_checked_the_request(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    """With the location of docs/run/scaling.md."""
    site = Installation(tmp_path / "data", DREAMLAYER_IMAGES_SENT_BY="nginx")
    key = site.migrate_with_key()
    found = re.search(
        r"<!-- nginx location -->\n```nginx\n(.*?)```", (ROOT / "docs/run/scaling.md").read_text(), re.DOTALL
    )
    assert found is not None
    location = found[1].replace("/srv/pictures/", f"{tmp_path}/data/pictures/")
    proxied = f"location / {{ proxy_pass {site.url}; proxy_set_header Host $http_host; }} {location}"
    with site.serving(), nginx(tmp_path, proxied) as proxy:
        front = proxy.url
        pk = site.img2img(key, photo_png, mask_png)[1]["id"]
        url = f"{front}/api/generations/{pk}/images/0/"
        status, headers, data = fetch(url, **{"X-API-Key": key})
        assert (status, headers["Content-Type"], data[:4]) == (200, "image/png", b"\x89PNG")
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"].startswith("private")
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        status, headers, part = fetch(url, **{"X-API-Key": key, "Range": "bytes=10-19"})
        assert (status, part) == (206, data[10:20])
        assert fetch(url, **{"X-API-Key": key, "If-None-Match": headers["ETag"]})[0] == 304
        assert fetch(f"{url}?download", **{"X-API-Key": key})[1]["Content-Disposition"].startswith("attachment")
        assert site.get(f"/api/generations/{pk}/images/0/", key=key) == (200, b"")  # without nginx
        assert fetch(url)[0] == 401
        files = tmp_path / "data" / "pictures" / "generatedimage"
        (stored,) = files.rglob("*.png")
        status, sent, signed = fetch(f"{url}?content_credentials=true", **{"X-API-Key": key})
        manifest_of(signed)
        again = {"X-API-Key": key, "Range": "bytes=10-19", "If-Range": sent["ETag"]}
        status, headers, part = fetch(f"{url}?content_credentials=true", **again)
        assert (status, headers["ETag"], part) == (206, sent["ETag"], signed[10:20])
        assert {file.read_bytes() for file in files.rglob("*.png")} == {data, signed}
        assert stored.read_bytes() == data
        assert stored.stat().st_mode & 0o777 == 0o640
        assert fetch(f"{front}/stored-pictures/{stored.relative_to(tmp_path / 'data' / 'pictures')}")[0] == 404
        stored.unlink()
        assert fetch(url, **{"X-API-Key": key})[0] == 410
