"""Images in a private bucket of S3 or of a compatible server, streamed in both directions."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files import File
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from inpainting.storage import ImageStorage, StorageUnavailable

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3, 10, 3
MIN_BYTES_PER_SECOND = 2**13
"""A server that sends an object more slowly, after READ_SECONDS, is treated as one that does not answer."""
BUFFER_BYTES = 2**17
FULL = ("QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity")
"""Error codes of servers whose disk or quota is full."""
RESPONSE_HEADERS = {
    "Content-Type": "ResponseContentType",
    "Content-Disposition": "ResponseContentDisposition",
    "Cache-Control": "ResponseCacheControl",
}
"""Header -> the parameter of GetObject that sets it in the response."""
CLIENT_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    signature_version="s3v4",  # also of presigned links
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    max_pool_connections=64,
    # Servers other than Amazon's often know neither bucket names in the host nor boto3's newer checksums.
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Raise FileNotFoundError, the OSError of a full disk, or StorageUnavailable instead of boto3's exceptions."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 404 and code != "NoSuchBucket":
            raise FileNotFoundError(errno.ENOENT, "No such object in the bucket", name) from error
        if code in FULL or status == 507:
            raise OSError(errno.ENOSPC, f"The bucket is full: {code}") from error
        raise StorageUnavailable(f"The bucket answered {status} {code} for {name}") from error
    except (BotoCoreError, Boto3Error, HTTPError) as error:
        raise StorageUnavailable(f"The bucket does not answer for {name}: {error}") from error


class S3ImageStorage(S3Storage, ImageStorage):  # type: ignore[misc]  # django-storages ships no types
    """S3Storage with one client for all threads, files that are read by ranges, and OSError for every failure.

    An upload is visible once it is complete. Names are random, so none is looked up before it is written.
    """

    def get_default_settings(self) -> dict[str, Any]:
        return {
            **super().get_default_settings(),
            "client_config": CLIENT_CONFIG,
            "transfer_config": TransferConfig(use_threads=False),
            "default_acl": None,
            "file_overwrite": True,
        }

    @cached_property
    def client(self) -> Any:
        """Clients are thread-safe, resources are not, and building one for every request takes too long.

        https://docs.aws.amazon.com/boto3/latest/guide/clients.html#multithreading-or-multiprocessing-with-clients
        """
        return self._create_session().client(
            "s3",
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            verify=self.verify,
            config=self.client_config,
        )

    @property
    def connection(self) -> Any:
        raise NotImplementedError("Use `client`: boto3's resources are not thread-safe.")

    def at(self, name: str) -> dict[str, str]:
        """The parameters of a request that name an object."""
        return {"Bucket": self.bucket_name, "Key": str(self._normalize_name(name))}

    def get(self, name: str, start: int = 0) -> dict[str, Any]:
        """The response to a GET of the object from byte `start` on; "Body" is a stream."""
        byte_range = {"Range": f"bytes={start}-"} if start else {}
        with translate_errors(name):
            response: dict[str, Any] = self.client.get_object(**self.at(name), **byte_range)
        return response

    def head(self, name: str) -> dict[str, Any]:
        """The response to a HEAD of the object. Raises FileNotFoundError."""
        with translate_errors(name):
            response: dict[str, Any] = self.client.head_object(**self.at(name))
        return response

    def _open(self, name: str, mode: str = "rb") -> File:
        return File(io.BufferedReader(ObjectReader(self, name), BUFFER_BYTES), name)

    def _save(self, name: str, content: File) -> str:
        parameters = self._get_write_parameters(name)
        content.seek(0)
        with translate_errors(name):
            self.client.upload_fileobj(
                KeptOpen(content), **self.at(name), ExtraArgs=parameters, Config=self.transfer_config
            )
        return name

    def delete(self, name: str) -> None:
        with translate_errors(name), suppress(FileNotFoundError):
            self.client.delete_object(**self.at(name))

    def exists(self, name: str) -> bool:
        try:
            self.head(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return int(self.head(name)["ContentLength"])

    def get_modified_time(self, name: str) -> datetime:
        modified: datetime = self.head(name)["LastModified"]
        return modified

    def presigned_url(self, name: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """A link to the object for everyone who has it. headers: of the response, of those in RESPONSE_HEADERS."""
        sent = {RESPONSE_HEADERS[key]: value for key, value in headers.items() if key in RESPONSE_HEADERS}
        with translate_errors(name):
            return str(
                self.client.generate_presigned_url("get_object", Params={**self.at(name), **sent}, ExpiresIn=seconds)
            )

    def names_and_sizes(self) -> Iterator[tuple[str, int]]:
        """A request lists a thousand files."""
        prefix = f"{self.location.strip('/')}/" if self.location else ""
        pages = self.client.get_paginator("list_objects_v2")
        with translate_errors(prefix):
            for page in pages.paginate(Bucket=self.bucket_name, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(prefix), found["Size"]


class KeptOpen:
    """A file that is uploaded: boto3 closes what it has uploaded."""

    def __init__(self, file: File) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Do nothing."""


class ObjectReader(io.RawIOBase):
    """Reads an object as a stream; after `seek`, and once after a broken connection, by another ranged request.

    Raises FileNotFoundError when it is created without an object. waited_seconds: for `received` bytes.
    """

    def __init__(self, storage: S3ImageStorage, name: str) -> None:
        super().__init__()
        self.storage, self.object_name = storage, name
        self.position, self.received, self.waited_seconds = 0, 0, 0.0
        response = storage.get(name)
        self.size: int = response["ContentLength"]
        self.body: Any = response["Body"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if start + offset != self.position:
            self.drop_body()
            self.position = max(0, start + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.read_part(len(buffer))
        except StorageUnavailable:
            data = self.read_part(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def read_part(self, byte_count: int) -> bytes:
        if self.position >= self.size:
            return b""
        if self.body is None:
            self.body = self.storage.get(self.object_name, self.position)["Body"]
        started = time.monotonic()
        try:
            with translate_errors(self.object_name):
                # What has arrived: `read` waits for all of it, for hours if each byte arrives within READ_SECONDS.
                data: bytes = self.body._raw_stream.read1(byte_count)
            self.received += len(data)
            self.waited_seconds += time.monotonic() - started
            if not data:
                raise StorageUnavailable(f"The bucket ended {self.object_name} after {self.position} bytes")
            if self.waited_seconds > READ_SECONDS + self.received / MIN_BYTES_PER_SECOND:
                rate = f"{self.received} bytes in {self.waited_seconds:.0f} seconds"
                raise StorageUnavailable(f"The bucket sends {self.object_name} too slowly: {rate}")
        except StorageUnavailable:
            self.drop_body()
            raise
        return data

    def drop_body(self) -> None:
        if self.body is not None:
            self.body.close()
            self.body = None

    def close(self) -> None:
        self.drop_body()
        super().close()
