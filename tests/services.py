"""Redis and S3 servers that the tests start themselves, and can stop and start again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.installation import free_port

BUCKET, KEY, SECRET = "pictures", "a-key", "a-secret"


class Redis:
    """A Redis server without files."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("Redis is not installed (Debian: apt install redis-server)")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.command = [program, "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server() -> Iterator[Redis]:
    server = Redis()
    try:
        yield server
    finally:
        server.stop()


class S3:
    """An S3 server with one bucket, whose objects are in the memory of this process."""

    def __init__(self, port: int) -> None:
        address = f"127.0.0.1:{port}"
        self.url = f"s3://{KEY}:{SECRET}@{address}/{BUCKET}?region=eu-central-1&tls=false"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=f"http://{address}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="eu-central-1",
        )
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def names(self) -> set[str]:
        return {found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


@contextmanager
def s3_server() -> Iterator[S3]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield S3(server.get_host_and_port()[1])
    finally:
        server.stop()
