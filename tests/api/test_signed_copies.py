"""Signed copies: made once, stored beside the unsigned image, sent as it is, and deleted with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.db import OperationalError
from django.test import Client

from accounts.models import User
from inpainting.accounting.limits import stored_bytes
from inpainting.core.codecs.formats import EXTENSIONS
from inpainting.core.credentials import Provenance
from inpainting.generations import shares
from inpainting.generations.delete import delete, delete_all_of_user
from inpainting.media import results, signing
from inpainting.models import GeneratedImage, Generation
from inpainting.models.images import SignedImage
from inpainting.storage.audit import named_files
from tests.api.signed_results import by_a_network, manifest_of, painted, read, signed

pytestmark = pytest.mark.django_db(transaction=True)

SIGNED = "?content_credentials=true"


@pytest.fixture
def url(alices_program: Client, photo_png: bytes, mask_png: bytes) -> str:
    """The address of a result, a PNG."""
    return painted(alices_program, photo_png, mask_png)


def files() -> set[str]:
    """The names of all stored files."""
    root = Path(site.DATA_DIR, "pictures")
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def copy_of() -> Path:
    return Path(GeneratedImage.objects.get().signed_file.path)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_signed_copy_is_made_once_and_stored_beside_the_unsigned_image(
    alice: User, alices_program: Client, photo_png: bytes, mask_png: bytes, settings: Any, format: str
) -> None:
    url = painted(alices_program, photo_png, mask_png, output_format=format)
    before, stored = files(), stored_bytes(alice)
    first = alices_program.get(url + SIGNED)
    data = first.getvalue()
    manifest_of(data, format)
    settings.SECRET_KEY += " that was changed"
    again = alices_program.get(url + SIGNED)
    assert (again.getvalue(), again["ETag"]) == (data, first["ETag"])
    assert again["Content-Type"] == f"image/{format}"
    [name] = files() - before
    assert re.fullmatch(rf"generatedimage/[0-9a-f]{{2}}/[0-9a-f]{{32}}\.{EXTENSIONS[format]}", name)
    assert Path(site.DATA_DIR, "pictures", name).read_bytes() == data
    assert stored_bytes(alice) - stored == len(data)
    image = GeneratedImage.objects.get()
    for field, digest in (("file", image.sha256), ("copy_file", image.copy_sha256)):
        if digest:
            assert sha256(Path(getattr(image, field).path).read_bytes()).hexdigest() == digest, "it stays unsigned"
    assert name in {file.file for file in named_files()}, "check_files knows it"


def test_a_signed_copy_has_ranges_and_is_not_sent_again_to_who_has_it(alices_program: Client, url: str) -> None:
    whole = alices_program.get(url + SIGNED)
    data = whole.getvalue()
    part = alices_program.get(url + SIGNED, headers={"Range": "bytes=10-19", "If-Range": whole["ETag"]})
    assert (part.status_code, part.getvalue(), part["Content-Range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
    assert alices_program.get(url + SIGNED, headers={"If-None-Match": whole["ETag"]}).status_code == 304
    plain = alices_program.get(url)
    assert plain["ETag"] != whole["ETag"]
    assert plain.getvalue() != data


def test_the_png_of_a_result_with_a_lossy_copy_has_a_signed_copy_too(
    alice: User, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    url = painted(alices_program, photo_png, mask_png, output_format="jpeg")
    stored = stored_bytes(alice)
    sizes = []
    for format in ("png", "jpeg"):
        data = signed(alices_program, url, format)
        manifest_of(data, format)
        assert signed(alices_program, url, format) == data
        sizes.append(len(data))
    assert stored_bytes(alice) - stored == sum(sizes)


@pytest.mark.parametrize("query", ["&format=webp", "&embed_settings=true", "&embed_settings=false"])
def test_what_is_not_stored_unsigned_is_signed_for_the_response(alices_program: Client, url: str, query: str) -> None:
    before = files()
    first, second = (alices_program.get(url + SIGNED + query) for _ in range(2))
    assert first["ETag"] != second["ETag"]
    manifest_of(first.getvalue(), "webp" if "webp" in query else "png")
    assert files() == before


def test_a_signed_copy_that_is_missing_is_made_again(alice: User, alices_program: Client, url: str) -> None:
    signed(alices_program, url)
    before, stored = files(), stored_bytes(alice)
    copy_of().unlink()
    data = signed(alices_program, url)
    manifest_of(data)
    assert signed(alices_program, url) == data
    assert copy_of().read_bytes() == data
    assert len(files()) == len(before)
    assert abs(stored_bytes(alice) - stored) < 1000, "the missing one does not count any more"


def test_two_requests_at_once_get_and_leave_one_whole_copy(
    alices_program: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes while the first one signs, and is faster."""
    before = files()
    faster: list[Any] = []

    def sign(data: bytes, format: str, provenance: Provenance) -> bytes:
        if not faster:
            faster.append(None)
            faster.append(alices_program.get(url + SIGNED))
        return signing.sign(data, format, provenance)

    monkeypatch.setattr(results, "sign", sign)
    slower, other = alices_program.get(url + SIGNED), faster[1]
    assert other is not None
    assert slower["ETag"] == other["ETag"]
    data = slower.getvalue()
    assert other.getvalue() == data
    manifest_of(data)
    assert len(files() - before) == 1
    assert copy_of().read_bytes() == data


@pytest.mark.parametrize("remove", [delete, lambda generation: delete_all_of_user(generation.owner)])
def test_signed_copies_are_deleted_with_their_result(
    alices_program: Client, photo_png: bytes, mask_png: bytes, remove: Callable[..., object]
) -> None:
    before = files()
    url = painted(alices_program, photo_png, mask_png, output_format="jpeg")
    for format in ("png", "jpeg"):
        signed(alices_program, url, format)
    assert remove(Generation.objects.get())
    assert files() == before


def test_a_copy_that_is_signed_while_its_result_is_deleted_is_neither_sent_nor_left(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files()
    url = painted(alices_program, photo_png, mask_png)

    def sign(data: bytes, format: str, provenance: Provenance) -> bytes:
        assert delete(Generation.objects.get())
        return signing.sign(data, format, provenance)

    monkeypatch.setattr(results, "sign", sign)
    assert alices_program.get(url + SIGNED).status_code == 410
    assert files() == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OperationalError("database is locked")])
def test_a_signed_copy_that_cannot_be_stored_is_sent_nevertheless(
    alices_program: Client, url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object) -> bool:
        raise error

    monkeypatch.setattr(SignedImage, "store_signed", fail)
    manifest_of(signed(alices_program, url))


def test_a_nearly_full_disk_keeps_its_room_for_results(alices_program: Client, url: str, settings: Any) -> None:
    before = files()
    settings.FREE_SPACE_MB = 10**9
    reserved = pytest.MonkeyPatch()
    with reserved.context() as patched:
        patched.setattr("inpainting.storage.RESERVED_SHARE", 1.0)
        manifest_of(signed(alices_program, url))
    assert files() == before


@pytest.fixture
def silent_timestamps(settings: Any, monkeypatch: pytest.MonkeyPatch) -> signing.TimestampServer:
    """A server of time stamps that gave none just now."""
    settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = "http://127.0.0.1:9/"
    server = signing.TimestampServer()
    server.pause()
    monkeypatch.setattr(signing, "timestamps", server)
    monkeypatch.setattr(results, "timestamps", server)
    return server


def test_a_copy_without_the_time_stamp_that_it_should_have_is_not_kept(
    alices_program: Client, url: str, silent_timestamps: signing.TimestampServer
) -> None:
    before = files()
    manifest_of(signed(alices_program, url))
    assert files() == before


def test_a_stored_copy_is_not_sent_any_more_once_the_site_turns_credentials_off(
    client: Client, alices_program: Client, url: str, settings: Any
) -> None:
    by_a_network()
    picture = f"/shared/{shares.token(shares.share(GeneratedImage.objects.get(), days=1))}/picture/"
    data = client.get(picture).getvalue()
    assert data == signed(alices_program, url), "the link sends the same copy"
    settings.CONTENT_CREDENTIALS = False
    assert client.get(picture).getvalue() == GeneratedImage.objects.get().read_bytes()
    assert alices_program.get(url + SIGNED).status_code == 400
    settings.CONTENT_CREDENTIALS = True
    assert client.get(picture).getvalue() == data
    read(data)


def test_nginx_sends_a_signed_copy(alices_program: Client, url: str, settings: Any) -> None:
    settings.IMAGES_SENT_BY = "nginx"
    answer = alices_program.get(f"{url}{SIGNED}&download")
    assert answer["X-Accel-Redirect"] == f"/stored-pictures/{GeneratedImage.objects.get().signed_file.name}"
    assert answer["Content-Disposition"].startswith("attachment")
    manifest_of(copy_of().read_bytes())
