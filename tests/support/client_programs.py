"""The programs of `tests/clients`, which call a service with its official client, and a recorder of what they send.

`python -m tests.support.client_programs` records it into `tests/payloads`, which the tests of the services replay.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import image_host
from tests.support.installation import ROOT

PROGRAMS = ROOT / "tests/clients"
PAYLOADS = ROOT / "tests/payloads"
NODE_CLIENTS = "DREAMLAYER_TEST_NODE_CLIENTS"
"""The environment variable with the folder in which `npm ci` has installed the clients of `package.json`."""
SERVICES = {
    "openai": ("openai_python.py", "openai_node.mjs"),
    "huggingface": ("huggingface_python.py", "huggingface_node.mjs"),
    "mcp": ("mcp_python.py",),
}
RECORDED = {**SERVICES, "automatic1111": ("webuiapi_bodies.py",)}
"""The programs whose requests are recorded; AUTOMATIC1111 has another one for the answers."""
LOADING = "/sdapi/v1/scripts"
"""What webuiapi asks for when it is created."""
KEPT_HEADERS = {
    *("accept", "authorization", "api-key", "content-type", "x-stainless-retry-count"),
    *("mcp-protocol-version", "mcp-method", "mcp-name"),
}
KEY = "dl_live_recorded"
BASIC = base64.b64encode(f"api:{KEY}".encode()).decode()
"""The key as webuiapi sends it."""


def write_images(folder: Path) -> None:
    """`photo.png`, `mask.png`, whose white is repainted, and `alpha.png`, whose transparent pixels are."""
    image_host.write_images(folder)
    transparent = image_host.photo()
    transparent.putalpha(image_host.mask().point(lambda grey: 255 - grey))
    transparent.save(folder / "alpha.png")


def node_and_clients() -> tuple[str, Path]:
    """Return Node.js and the folder of the clients for it. Skips the test without either."""
    node, clients = shutil.which("node"), os.environ.get(NODE_CLIENTS)
    if node is None or clients is None:
        pytest.skip(f"{NODE_CLIENTS} names no folder with the clients for Node.js")
    return node, Path(clients)


def run(program: str, address: str, key: str, folder: Path) -> dict[str, Any]:
    """Run a program of `tests/clients`, and return what it prints. folder: see `write_images`."""
    if program.endswith(".mjs"):
        node, clients = node_and_clients()
        shutil.copy(PROGRAMS / program, clients)  # A module imports from the folder in which it is.
        command = [node, str(clients / program)]
    else:
        command = [sys.executable, str(PROGRAMS / program)]
    environment = {name: text for name, text in os.environ.items() if name != "HF_HUB_OFFLINE"}  # of the other tests
    done = subprocess.run(
        [*command, address, key, str(folder)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


class Recorder(BaseHTTPRequestHandler):
    """Answers as the services do, and keeps the requests in the server's list `recorded`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.handle_any()

    def do_POST(self) -> None:
        self.handle_any()

    def handle_any(self) -> None:
        headers = {name.lower(): text for name, text in self.headers.items() if name.lower() in KEPT_HEADERS}
        recorded: dict[str, Any] = {"method": self.command, "path": self.path, "headers": headers}
        body = self.read_body()
        if headers.get("content-type", "").startswith("multipart/"):
            head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
            parts: Any = message_from_bytes(head + body).get_payload()
            recorded["parts"] = [part_of(part) for part in parts]
            headers["content-type"] = "multipart/form-data"
        elif headers.get("content-type") == "application/json":
            recorded["json"] = json.loads(body)
        elif body:
            recorded["raw"] = base64.b64encode(body).decode()
        self.server.recorded.append(recorded)  # type: ignore[attr-defined]
        content_type, answer = answer_to(recorded)
        self.send_response(200 if answer else 202)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


def part_of(part: Message) -> dict[str, Any]:
    """Return the name of a part of a form, and its text or its file, in base64."""
    data, name = part.get_payload(decode=True), part.get_param("name", header="content-disposition")
    assert isinstance(data, bytes)
    if part.get_filename() is None:
        return {"name": name, "value": data.decode()}
    content = base64.b64encode(data).decode()
    return {"name": name, "filename": part.get_filename(), "type": part.get_content_type(), "file": content}


def answer_to(recorded: dict[str, Any]) -> tuple[str, bytes]:
    """Return the media type and the body of a success, in the shape that the client reads."""
    png = image_host.encoded(Image.new("RGB", (8, 8)))
    model = {"id": "gpt-image-1", "object": "model", "created": 1, "owned_by": "x"}
    found: Any = {"created": 1, "data": [{"b64_json": base64.b64encode(png).decode(), "url": "http://x.example/"}]}
    if recorded["path"] == "/mcp":
        return "application/json", answer_to_message(recorded["json"])
    if recorded["path"].startswith(("/sdapi", "/controlnet")):
        image = base64.b64encode(png).decode()
        found = {"images": [image], "image": image, "caption": "a cat", "info": "{}", "html_info": ""}
        found |= {"parameters": {}, "items": {}, "txt2img": [], "img2img": []}
    elif "/models" in recorded["path"]:
        found = {"object": "list", "data": [model]} if recorded["path"].endswith("/models") else model
    elif {"name": "stream", "value": "true"} in recorded.get("parts", []):
        event = {"type": "image_edit.completed", "b64_json": base64.b64encode(png).decode()}
        return "text/event-stream", f"event: image_edit.completed\ndata: {json.dumps(event)}\n\n".encode()
    elif recorded["path"].endswith("/image-to-text"):
        found = [{"generated_text": "a cat"}]
    elif recorded["path"].endswith("/image-segmentation"):
        found = [{"label": "cat", "score": 1.0, "mask": base64.b64encode(png).decode()}]
    elif recorded["path"].startswith("/hf/"):
        return "image/png", png
    return "application/json", json.dumps(found).encode()


def answer_to_message(message: dict[str, Any]) -> bytes:
    """Return the response to a message of the Model Context Protocol; nothing to a notification."""
    if "id" not in message:
        return b""
    about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
    results: dict[str, dict[str, Any]] = {
        "server/discover": {"supportedVersions": ["2026-07-28"], **about, "ttlMs": 0, "cacheScope": "private"},
        "initialize": {"protocolVersion": "2025-11-25", **about},
        "tools/list": {
            "tools": [{"name": "erase", "inputSchema": {"type": "object"}}],
            "ttlMs": 0,
            "cacheScope": "private",
        },
        "tools/call": {"content": []},
    }
    result = {"resultType": "complete", **results[message["method"]]}
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


@contextmanager
def recorder() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.recorded = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def record(program: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what each call of a program sends, by the call's name, or by the method and a number where a call sends
    several messages; with `{photo}`, `{mask}`, `{alpha}`, `{key}` and `{basic}` in
    place of these. folder: for the images."""
    write_images(folder)
    with recorder() as server:
        calls = run(program, f"http://127.0.0.1:{server.server_port}", KEY, folder)
        requests = [each for each in server.recorded if each["path"] != LOADING]  # type: ignore[attr-defined]
    names = list(calls)
    if program.startswith("mcp"):
        names = [f"{index:02}_{each['json']['method'].replace('/', '_')}" for index, each in enumerate(requests, 1)]
    assert len(names) == len(requests), "each call sends one request"
    text = json.dumps(requests).replace(KEY, "{key}").replace(BASIC, "{basic}")
    for name in ("photo", "mask", "alpha"):
        data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        text = text.replace(data, f"{{{name}}}")
    found: list[dict[str, Any]] = json.loads(text)
    return dict(zip(names, found, strict=True))


def stored(service: str) -> dict[str, dict[str, Any]]:
    """Return the recorded calls of a service by their names."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((PAYLOADS / service).glob("*.json"))}


def main() -> None:
    for service, programs in RECORDED.items():
        if service in SERVICES:  # The folders of others have bodies of further clients.
            shutil.rmtree(PAYLOADS / service, ignore_errors=True)
        (PAYLOADS / service).mkdir(exist_ok=True)
        for program in programs:
            with tempfile.TemporaryDirectory() as folder:
                for name, call in record(program, Path(folder)).items():
                    (PAYLOADS / service / f"{name}.json").write_text(f"{json.dumps(call, indent=2)}\n")


if __name__ == "__main__":
    main()
