"""Images in a bucket: streamed, complete, and not lost when the bucket fails."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.config import Config
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.models import User
from dreamlayer_site.service_urls import storage_settings
from inpainting.generations.delete import delete_ended
from inpainting.generations.retention import sweep
from inpainting.media.files import errors_as_text, image_response
from inpainting.media.streaming import CHUNK_BYTES, file_chunks
from inpainting.models import Generation, SourceImage, Status, UndeletedFile, undeleted_file
from inpainting.storage import StorageUnavailable, out_of_space
from inpainting.storage import s3 as s3_storage
from inpainting.storage.s3 import ObjectReader, S3ImageStorage
from inpainting.worker.run import run_waiting
from tests.support.service_clients import CALLS, Caller
from tests.support.services import S3, s3_server
from tests.support.tcp_proxy import tcp_proxy

Generate = Callable[..., Generation]
SHAPES = {
    "native": {"code", "message", "status"},
    "sd-inpaint": {"detail"},
    "fooocus": {"detail"},
    "deep-image": {"code", "message"},
    "modelslab": {"status", "message"},
    "openai": {"error"},
    "huggingface": {"error"},
    "iopaint": {"error", "detail", "body", "errors"},
    "automatic1111": {"error", "detail", "body", "errors"},
    "mcp": {"jsonrpc", "id", "result"},
}
"""Service -> the keys of its errors."""
DOWN = [(503, "SlowDown"), (403, "AccessDenied"), (404, "NoSuchBucket"), (500, "InternalError")]


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    once = s3_storage.CLIENT_CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    monkeypatch.setattr(s3_storage, "CLIENT_CONFIG", once)
    yield server
    server.empty()


@pytest.fixture
def storage(s3: S3) -> S3ImageStorage:
    return S3ImageStorage(**storage_settings(s3.url, default_folder=Path("/unused"))["OPTIONS"])


@pytest.fixture
def bucket(s3: S3, settings: Any) -> S3:
    """The server, of which a bucket is this site's storage."""
    default = storage_settings(s3.url, default_folder=Path("/unused"))
    settings.STORAGES = {**settings.STORAGES, "default": default}
    return s3


def test_a_file_is_streamed_in_parts_and_by_ranges(
    storage: S3ImageStorage, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bytes(range(256)) * 8192  # 2 MiB
    storage.save("mask/ab/one.png", ContentFile(whole))
    asked, read_part = [], ObjectReader.read_part

    def noted(self: ObjectReader, byte_count: int) -> bytes:
        asked.append(byte_count)
        return read_part(self, byte_count)

    monkeypatch.setattr(ObjectReader, "read_part", noted)
    s3.requests.clear()
    chunks = list(file_chunks(storage.open("mask/ab/one.png"), range(len(whole))))
    assert (b"".join(chunks), max(len(chunk) for chunk in chunks)) == (whole, CHUNK_BYTES)
    assert max(asked) <= CHUNK_BYTES
    assert len(s3.requests) == 1
    assert b"".join(file_chunks(storage.open("mask/ab/one.png"), range(1_000_003, 1_000_203))) == whole[1000003:1000203]
    assert s3.requests[-1][2] == "bytes=1000003-"
    with storage.open("mask/ab/one.png") as file:
        assert file.size == len(whole)
        file.seek(-5, io.SEEK_END)
        assert file.read() == whole[-5:]
    assert storage.size("mask/ab/one.png") == len(whole)


def test_a_missing_file_is_not_found(storage: S3ImageStorage) -> None:
    for look in (storage.open, storage.size, storage.get_modified_time):
        with pytest.raises(FileNotFoundError):
            look("mask/ab/none.png")
    assert not storage.exists("mask/ab/none.png")
    storage.delete("mask/ab/none.png")


@pytest.mark.parametrize("fault", DOWN)
def test_every_failure_is_an_os_error(storage: S3ImageStorage, s3: S3, fault: tuple[int, str]) -> None:
    storage.save("mask/ab/one.png", ContentFile(b"one"))
    s3.fault = fault
    with pytest.raises(StorageUnavailable, match=fault[1]):
        storage.open("mask/ab/one.png")
    with pytest.raises(StorageUnavailable):
        storage.save("mask/ab/two.png", ContentFile(b"two"))
    with pytest.raises(StorageUnavailable):
        list(storage.names_and_sizes())
    s3.fault = (507, "QuotaExceeded")
    with pytest.raises(OSError, match="full") as full:
        storage.save("mask/ab/two.png", ContentFile(b"two"))
    assert out_of_space(full.value)
    assert full.value.errno == errno.ENOSPC
    s3.fault = None
    assert s3.names() == {"mask/ab/one.png"}


def test_a_server_that_is_away_is_an_os_error() -> None:
    options = storage_settings("s3://K:S@127.0.0.1:9/bucket?tls=false", default_folder=Path("/unused"))["OPTIONS"]
    with pytest.raises(StorageUnavailable):
        S3ImageStorage(**options).open("mask/ab/one.png")


def test_a_server_that_stalls_or_is_cut_off_is_an_os_error(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    assert s3_storage.CLIENT_CONFIG.read_timeout == s3_storage.READ_SECONDS <= 10
    monkeypatch.setattr(s3_storage, "CLIENT_CONFIG", s3_storage.CLIENT_CONFIG.merge(Config(read_timeout=0.5)))
    with tcp_proxy(s3.url) as network:
        options = storage_settings(network.url, default_folder=Path("/unused"))["OPTIONS"]
        storage = S3ImageStorage(**options)
        whole = bytes(range(256)) * 2**15  # 8 MiB: more than the buffers of a connection
        storage.save("mask/ab/one.png", ContentFile(whole))
        for state in ("stalled", "cut"):
            with storage.open("mask/ab/one.png") as file:
                assert file.read(16) == whole[:16]
                network.set(state)
                with pytest.raises(StorageUnavailable):
                    file.read()
            with pytest.raises(StorageUnavailable):
                storage.save("mask/ab/two.png", ContentFile(whole))
            network.set("open")
            with storage.open("mask/ab/one.png") as file:
                assert file.read() == whole
    assert "mask/ab/one.png" in s3.names()


def test_a_broken_connection_is_continued_once(storage: S3ImageStorage, s3: S3) -> None:
    whole = bytes(range(256)) * 4096
    storage.save("mask/ab/one.png", ContentFile(whole))
    s3.fault = "break"
    with storage.open("mask/ab/one.png") as file:
        first = file.read(CHUNK_BYTES)
        s3.fault = None
        assert first + file.read() == whole
    assert s3.requests[-1][2].startswith("bytes=")
    s3.fault = "break"
    with storage.open("mask/ab/one.png") as file, pytest.raises(StorageUnavailable):
        file.read()


def test_a_server_that_drips_bytes_is_an_os_error(
    storage: S3ImageStorage, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.save("mask/ab/one.png", ContentFile(bytes(1000)))
    s3.fault = "drip"
    monkeypatch.setattr(s3_storage, "READ_SECONDS", 0.5)
    with storage.open("mask/ab/one.png") as file, pytest.raises(StorageUnavailable, match="too slowly"):
        file.read()
    s3.fault = None
    with storage.open("mask/ab/one.png") as file:
        assert file.read() == bytes(1000)


def img2img(client: Client, photo_png: bytes, mask_png: bytes, key: str) -> Any:
    files = {
        "image": SimpleUploadedFile("photo.png", photo_png, "image/png"),
        "mask": SimpleUploadedFile("mask.png", mask_png, "image/png"),
    }
    headers = {"X-API-Key": key, "Prefer": "respond-async"}
    return client.post("/api/img2img", {**files, "prompt": ""}, headers=headers)


@pytest.mark.parametrize("fault", DOWN)
def test_without_the_bucket_a_request_is_refused_and_leaves_nothing(
    bucket: S3, client: Client, alices_key: str, photo_png: bytes, mask_png: bytes, fault: tuple[int, str]
) -> None:
    bucket.fault = fault
    answer = img2img(client, photo_png, mask_png, alices_key)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer["Retry-After"]) > 0
    assert not Generation.objects.exists()
    bucket.fault = (507, "QuotaExceeded")
    answer = img2img(client, photo_png, mask_png, alices_key)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")


@pytest.mark.parametrize(
    ("reading", "fault"), [(True, (403, "AccessDenied")), (True, "drip"), (False, (503, "SlowDown"))]
)
def test_a_generation_waits_for_the_bucket(
    bucket: S3, alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch, *, reading: bool, fault: Any
) -> None:
    monkeypatch.setattr(s3_storage, "READ_SECONDS", 0.5)
    generation = generate(alice, run=False)
    from inpainting.worker import run as running

    paint = running.paint_or_step_down

    def fail_afterwards(*arguments: Any) -> Any:
        bucket.fault = fault
        return paint(*arguments)

    if reading:
        bucket.fault = fault
    else:
        monkeypatch.setattr(running, "paint_or_step_down", fail_afterwards)
    run_waiting()
    generation.refresh_from_db()
    assert (generation.status, generation.attempts) == (Status.QUEUED, 0)
    bucket.fault = None
    monkeypatch.setattr(running, "paint_or_step_down", paint)
    Generation.objects.update(lease_until=None)
    run_waiting()
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


def test_images_are_sent_with_ranges_and_503_while_the_bucket_is_away(
    bucket: S3, alice: User, alices_program: Client, generate: Generate
) -> None:
    generation = generate(alice)
    url = f"/api/generations/{generation.pk}/images/0/"
    whole = b"".join(alices_program.get(url).streaming_content)  # type: ignore[attr-defined]
    part = alices_program.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, b"".join(part.streaming_content)) == (206, whole[10:20])  # type: ignore[attr-defined]
    bucket.fault = (503, "SlowDown")
    answer = alices_program.get(url)
    assert (answer.status_code, json.loads(answer.content)["code"]) == (503, "storage_unavailable")
    page = errors_as_text(image_response)(RequestFactory().get("/"), generation.images.get().file, {})
    assert (page.status_code, page["Content-Type"]) == (503, "text/plain")
    bucket.fault = None
    bucket.client.delete_object(Bucket=bucket.name, Key=str(generation.images.get().file.name))
    assert alices_program.get(url).status_code == 410


def test_check_files_finds_orphans_and_missing_files(
    bucket: S3, alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = generate(alice)
    out = io.StringIO()
    call_command("check_files", "--hashes", stdout=out)
    assert out.getvalue() == "5 named by rows, 5 files: 0 missing, 0 without a row, 0 altered.\n"
    default_storage.save("mask/ab/orphan.png", ContentFile(b"no row's"))
    monkeypatch.setattr("inpainting.management.commands.check_files.is_older", lambda file, than: True)
    bucket.client.delete_object(Bucket=bucket.name, Key=str(generation.source.file.name))
    with pytest.raises(CommandError):
        call_command("check_files", "--repair", stdout=out)
    assert "orphan   mask/ab/orphan.png" in out.getvalue()
    assert f"missing  {generation.source.file.name}" in out.getvalue()
    assert "mask/ab/orphan.png" not in bucket.names()


def test_files_that_a_bucket_did_not_delete_are_deleted_by_a_later_sweep(
    bucket: S3, alice: User, generate: Generate, django_capture_on_commit_callbacks: Any
) -> None:
    generation = generate(alice)
    names = bucket.names()
    assert names
    bucket.fault = (503, "SlowDown")
    with django_capture_on_commit_callbacks(execute=True):
        assert delete_ended(generation.pk)
    assert sweep(timezone.now())  # the bucket is still away
    bucket.fault = None
    assert bucket.names() == names == set(UndeletedFile.objects.values_list("name", flat=True))
    assert sweep(timezone.now())
    assert not bucket.names()
    assert not UndeletedFile.objects.exists()


def test_after_a_bucket_did_not_answer_files_are_remembered_without_asking_it(
    bucket: S3, alice: User, generate: Generate, django_capture_on_commit_callbacks: Any
) -> None:
    generation = generate(alice)
    names, deletions = bucket.names(), []

    def hanging(self: S3ImageStorage, name: str) -> None:
        deletions.append(name)
        raise StorageUnavailable

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3ImageStorage, "delete", hanging)
        with django_capture_on_commit_callbacks(execute=True):
            assert delete_ended(generation.pk)
    assert len(deletions) == 1
    assert bucket.names() == names == set(UndeletedFile.objects.values_list("name", flat=True))
    undeleted_file._paused_until = 0.0
    other = generate(alice)
    with django_capture_on_commit_callbacks(execute=True):
        assert delete_ended(other.pk)
    assert bucket.names() == names  # files are deleted at once again


def test_files_of_a_refused_request_are_deleted_later(
    bucket: S3, client: Client, alices_key: str, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = SourceImage.from_image

    def last_answer(*arguments: Any, **options: Any) -> SourceImage:
        source = written(*arguments, **options)
        bucket.fault = (503, "SlowDown")
        return source

    monkeypatch.setattr(SourceImage, "from_image", last_answer)
    assert img2img(client, photo_png, mask_png, alices_key).status_code == 503
    bucket.fault = None
    (name,) = bucket.names()
    assert UndeletedFile.objects.get().name == name
    sweep(timezone.now())
    assert not bucket.names()


def test_all_threads_share_one_client(storage: S3ImageStorage) -> None:
    """boto3 documents clients as thread-safe, and resources as not."""

    def round_trip(number: int) -> bool:
        data = number.to_bytes(2, "big") * 50_000
        name = storage.save(f"mask/ab/{number}.png", ContentFile(data))
        with storage.open(name) as file:
            return file.read() == data and storage.size(name) == len(data)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(round_trip, range(64)))
    with pytest.raises(NotImplementedError):
        storage.connection  # noqa: B018 - django-storages' resource


class Refused(Exception):
    pass


class InProcess(Caller):
    """A client that raises Refused with the status and the body of an answer that is not a success."""

    def send(self, method: str, path: str, *, headers: Any = None, **body: Any) -> Any:
        sent: Any = requests.Request(method, self.site, headers=headers, **body).prepare()
        own = {"X-API-Key": self.api_key, **(headers or {})}
        answer: Any = Client().generic(method, path, sent.body, sent.headers["Content-Type"], headers=own)
        raise Refused(answer.status_code, answer.get("Retry-After"), json.loads(answer.content))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fault", [(503, "SlowDown"), (507, "QuotaExceeded")])
def test_each_service_reports_the_bucket_in_its_own_shape(
    bucket: S3, alices_key: str, name: str, fault: tuple[int, str]
) -> None:
    bucket.fault = fault
    with pytest.raises(Refused) as refused:
        CALLS[name](InProcess("http://testserver", alices_key, 1))
    status, retry_after, body = refused.value.args
    message = "no space" if fault[0] == 507 else "storage does not answer"
    service = name.partition(",")[0]
    # What goes wrong with a tool is a result, which an agent reads.
    assert (status, message in json.dumps(body)) == (200 if service == "mcp" else fault[0], True)
    assert service != "mcp" or body["result"]["isError"]
    assert set(body) >= SHAPES[service]
    assert bool(retry_after) == (fault[0] == 503)
    assert not Generation.objects.exists()
