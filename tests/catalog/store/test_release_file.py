"""Models at an https address: checked against the hash that their publisher names, resumed, pinned, guarded."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.shipped_tools import SALIENT_OBJECTS
from inpainting.catalog.store import release_file
from inpainting.models import InferenceModel, ModelState
from inpainting.net import OutboundPolicy, RemoteFile, open_remote_file
from tests.net.fake_network import OTHER_PUBLIC, PUBLIC, FakeNetwork, Handler, Listener, answer, authority

pytest.importorskip("onnx", reason="a light installation has no onnx")
from tests.support import tiny_networks

pytestmark = pytest.mark.usefixtures("models_folder", "db")
NAME, STORE = "releases.example", "files.example"
URL = f"https://{NAME}/v1/mine.onnx"
CONTENT = tiny_networks.salient(64)
Serve = Callable[..., None]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_file, "PAUSE_SECONDS", 0)


class Release:
    """Answers with ranges of `content`, of which the first answers break off. ranges: those that were requested."""

    def __init__(self, content: bytes) -> None:
        self.content, self.ranges = content, list[int]()
        self.breaks_after: list[int] = []

    def __call__(self, visitor: socket.socket, request: bytes) -> None:
        found = re.search(rb"range: bytes=(\d+)-", request.lower())
        assert found is not None
        first = int(found[1])
        self.ranges.append(first)
        total = len(self.content)
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{total - 1}/{total}\r\n"
        body = self.content[first:]
        head += f"Content-Length: {len(body)}\r\n\r\n"
        if len(self.ranges) > 1 and self.breaks_after:  # the first request asks for the size
            body = body[: self.breaks_after.pop(0)]
        visitor.sendall(head.encode() + body)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handler], None]]:
    """Let `pull_model` reach servers of two public names: the first redirects to the second, which answers so."""
    listeners: list[Listener] = []
    trust = authority()

    def serve(handle: Handler) -> None:
        moved = answer("302 Found", b"", location=f"https://{STORE}/mine.onnx")
        for name, handler in ((NAME, moved), (STORE, handle)):
            listener = Listener(handler, tls=trust.serving(name))
            listener.__enter__()
            listeners.append(listener)
        machines = {(PUBLIC, 443): listeners[-2], (OTHER_PUBLIC, 443): listeners[-1]}
        network = FakeNetwork({NAME: [[PUBLIC]], STORE: [[OTHER_PUBLIC]]}, machines, trust.trusting())

        def open_release(url: str, first_byte: int) -> AbstractContextManager[RemoteFile]:
            return open_remote_file(url, first_byte=first_byte, policy=OutboundPolicy(), transport=network.transport())

        monkeypatch.setattr("inpainting.management.commands.pull_model.open_release", open_release)

    yield serve
    for listener in listeners:
        listener.__exit__(None, None, None)


def pull(slug: str = "mine") -> str:
    output = StringIO()
    call_command("pull_model", slug, "--yes", stdout=output)
    return output.getvalue()


def add(fragment: str = "") -> InferenceModel:
    call_command("add_model", "mine", "--family=u2net", f"--from={URL}{fragment}", stdout=StringIO())
    return InferenceModel.objects.get(slug="mine")


def digest(name: str, content: bytes = CONTENT) -> str:
    return f"#{name}={hashlib.new(name, content, usedforsecurity=False).hexdigest()}"


@pytest.mark.parametrize("fragment", [digest("md5"), digest("sha256"), ""])
def test_a_file_is_pulled_by_redirect_and_its_hash_is_pinned(serve: Serve, models_folder: Path, fragment: str) -> None:
    serve(Release(CONTENT))
    model = add(fragment)
    output = pull()
    stated = fragment[1:].replace("=", " ") or "none published; the first pull pins its own"
    assert f"hash     {stated}" in output
    model.refresh_from_db()
    assert (model.is_installed, model.source) == (True, "url")
    assert model.files == {"mine.onnx": {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}}
    assert (models_folder / "mine" / "mine.onnx").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_another_file_than_the_published_one_is_not_installed(serve: Serve, models_folder: Path, name: str) -> None:
    serve(Release(CONTENT))
    add(digest(name, b"other"))
    with pytest.raises(CommandError, match="not what was promised"):
        pull()
    assert not (models_folder / "mine").exists()
    assert InferenceModel.objects.get(slug="mine").state == ModelState.FAILED


def test_without_a_published_hash_later_pulls_must_match_the_first(serve: Serve) -> None:
    serve(Release(CONTENT))
    add()
    pull()
    serve(Release(tiny_networks.salient(64, gain=2)))
    with pytest.raises(CommandError, match="not the file that was pinned"):
        pull()


def test_an_interrupted_download_is_resumed(serve: Serve) -> None:
    release = Release(CONTENT)
    release.breaks_after = [100, 50]
    serve(release)
    model = add(digest("md5"))
    pull()
    model.refresh_from_db()
    assert model.is_installed
    assert release.ranges == [0, 0, 100, 150]


def test_attempts_are_counted_anew_after_one_that_received_bytes(serve: Serve) -> None:
    release = Release(CONTENT)
    release.breaks_after = [0, 0, 0, 1] * 2  # fewer in succession than ATTEMPTS
    serve(release)
    model = add(digest("md5"))
    pull()
    model.refresh_from_db()
    assert model.is_installed


@pytest.mark.parametrize(("published", "first_byte"), [(True, 100), (False, 0)])
def test_a_later_pull_resumes_what_its_hash_can_check(serve: Serve, published: bool, first_byte: int) -> None:
    release = Release(CONTENT)
    release.breaks_after = [100, *[0] * release_file.ATTEMPTS]
    serve(release)
    model = add(digest("sha256") if published else "")
    with pytest.raises(CommandError):
        pull()
    release.ranges.clear()
    release.breaks_after.clear()
    pull()
    model.refresh_from_db()
    assert model.is_installed
    assert release.ranges == [0, first_byte]  # the first one asks for the size


def test_a_server_without_the_file_is_reported(serve: Serve) -> None:
    serve(answer("404 Not Found", b"nothing"))
    add()
    with pytest.raises(CommandError, match="status 404"):
        pull()


@pytest.mark.parametrize(
    "address", ["https://x.example/a.pt", "https://x.example/a.onnx#md5=12", "https://x.example/a.onnx?b#c", "https://"]
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(CommandError, match=r"no https address of an \.onnx or \.pth file"):
        call_command("add_model", "mine", "--family=u2net", f"--from={address}")
    with pytest.raises(ModelRefused):
        release_file.release(address)


def test_private_addresses_are_not_contacted() -> None:
    add()
    InferenceModel.objects.filter(slug="mine").update(repo="https://127.0.0.1/mine.onnx")
    with pytest.raises(CommandError, match="not_allowed"):
        pull()


def test_the_shipped_ones_state_licence_size_and_their_publishers_hash() -> None:
    for spec in SALIENT_OBJECTS:
        name, _, md5 = release_file.release(spec.repo)
        assert name.endswith(".onnx")
        assert md5
        assert spec.licence
        assert spec.size_bytes
        assert InferenceModel.objects.get(slug=spec.slug).state == ModelState.NOT_INSTALLED
