"""An attacker's connections: they send a request and do not behave as a browser does."""

from __future__ import annotations

import json
import os
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

from tests.support.installation import Installation

FIRST_GENERATION_HANGS = {
    "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    "DREAMLAYER_WORKERS": "1",
    "DREAMLAYER_LEASE_SECONDS": "3600",
}
"""The environment of a server on which all generations but one wait, once its data folder holds the file "hang"."""

SIGN_IN_PAGE = "/accounts/login/"


def connect(server: Installation, *, source: str = "127.0.0.1") -> socket.socket:
    """A connection from this loopback address, whose receive buffer is as small as the kernel permits."""
    client = socket.socket()
    client.settimeout(60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind((source, 0))
    client.connect((server.host, server.port))
    return client


@contextmanager
def requests(server: Installation, path: str, *, count: int, **headers: str) -> Iterator[list[socket.socket]]:
    """Request the path on `count` connections, without reading the answers. They are closed at the end."""
    lines = "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"Host": server.host, **headers}.items()
    )
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(count)]
        for client in clients:
            client.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        yield clients


def large_result(server: Installation, key: str, photo_png: bytes, mask_png: bytes, *, size: int) -> str:
    """Paint an image and enlarge its file to `size` bytes; return the path of its signed link."""
    status, answer = server.img2img(key, photo_png, mask_png)
    assert status == 200, answer
    enlarge_results(server, size=size)
    return urlsplit(answer["images"][0]).path  # type: ignore[index]


def large_archive(server: Installation, key: str, photo_png: bytes, mask_png: bytes, *, size: int) -> str:
    """As `large_result`, in a batch; return the path of its ZIP archive."""
    image, mask = (f"data:image/png;base64,{b64encode(png).decode()}" for png in (photo_png, mask_png))
    body = json.dumps({"images": [image], "masks": [mask], "prompt": "a lawn"}).encode()
    status, answer = server.get("/api/batches/", key=key, data=body, headers={"Content-Type": "application/json"})
    assert status == 202, answer
    archive = f"/api/batches/{json.loads(answer)['id']}/results.zip"
    server.wait_until(lambda: server.get(archive, key=key)[0] == 200)
    enlarge_results(server, size=size)
    return archive


def enlarge_results(server: Installation, *, size: int) -> None:
    for path in (server.folder / "pictures/generatedimage").rglob("*.png"):
        path.write_bytes(os.urandom(size))


def status_of(client: socket.socket) -> int:
    """The status of the answer; 0 where the connection was closed without one. Reads no more than its first line."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            if not (byte := client.recv(1)):
                return 0
            line += byte
    except ConnectionResetError:
        return 0
    return int(line.split()[1])


def answer_of(client: socket.socket) -> tuple[int, bytes]:
    """The status and the body of the answer, without waiting until the connection is closed."""
    with HTTPResponse(client) as response:
        response.begin()
        return response.status, response.read()


def csrf_headers_and_token(server: Installation) -> tuple[dict[str, str], str]:
    """The headers and the field with which a visitor sends the form of a page."""
    with closing(HTTPConnection(server.host, server.port, timeout=60)) as connection:
        connection.request("GET", SIGN_IN_PAGE)
        response = connection.getresponse()
        token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', response.read())
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert token is not None
    return {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}, token[1].decode()
