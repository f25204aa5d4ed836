"""Images in a private bucket of S3 or of a compatible server, streamed in both directions."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files import File
from storages.backends.s3 import S3Storage

from inpainting.storage import StorageUnavailable

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3, 10, 3
BUFFER_BYTES = 2**17
FULL = ("QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity")
"""Error codes of servers whose disk or quota is full."""
CLIENT_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    max_pool_connections=64,
    # Servers other than Amazon's often know neither bucket names in the host nor boto3's newer checksums.
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


@contextmanager
def translated(name: str) -> Iterator[None]:
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
    except (BotoCoreError, Boto3Error) as error:
        raise StorageUnavailable(f"The bucket does not answer for {name}: {error}") from error


class S3PictureStorage(S3Storage):  # type: ignore[misc]  # django-storages ships no types
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
    def shared_connection(self) -> Any:
        return super().connection

    @property
    def connection(self) -> Any:
        """boto3's resource. One per thread, as django-storages has it, would be built anew for every request."""
        return self.shared_connection

    def key(self, name: str) -> str:
        return str(self._normalize_name(name))

    def get(self, name: str, start: int = 0) -> dict[str, Any]:
        """The response to a GET of the object from byte `start` on; "Body" is a stream."""
        byte_range = {"Range": f"bytes={start}-"} if start else {}
        with translated(name):
            client = self.connection.meta.client
            response: dict[str, Any] = client.get_object(Bucket=self.bucket_name, Key=self.key(name), **byte_range)
        return response

    def _open(self, name: str, mode: str = "rb") -> File:
        return File(io.BufferedReader(ObjectReader(self, name), BUFFER_BYTES), name)

    def _save(self, name: str, content: File) -> str:
        with translated(name):
            return str(super()._save(name, content))

    def delete(self, name: str) -> None:
        with translated(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        with translated(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with translated(name):
            return int(super().size(name))

    def get_modified_time(self, name: str) -> datetime:
        with translated(name):
            modified: datetime = super().get_modified_time(name)
            return modified

    def names_and_sizes(self) -> Iterator[tuple[str, int]]:
        """All files in storage, a thousand per request."""
        prefix = f"{self.location.strip('/')}/" if self.location else ""
        pages = self.connection.meta.client.get_paginator("list_objects_v2")
        with translated(prefix):
            for page in pages.paginate(Bucket=self.bucket_name, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(prefix), found["Size"]


class ObjectReader(io.RawIOBase):
    """Reads an object as a stream; after `seek`, and once after a broken connection, by another ranged request.

    Raises FileNotFoundError when it is created without an object.
    """

    def __init__(self, storage: S3PictureStorage, name: str) -> None:
        super().__init__()
        self.storage, self.object_name = storage, name
        self.position = 0
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
        try:
            with translated(self.object_name):
                data: bytes = self.body.read(byte_count)
        except StorageUnavailable:
            self.drop_body()
            raise
        if not data:
            self.drop_body()
            raise StorageUnavailable(f"The bucket ended {self.object_name} after {self.position} bytes")
        return data

    def drop_body(self) -> None:
        if self.body is not None:
            self.body.close()
            self.body = None

    def close(self) -> None:
        self.drop_body()
        super().close()
