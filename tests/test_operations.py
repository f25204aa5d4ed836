"""The commands of docs/run/operations.md: back up a running server, restore, move."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from inpainting.media.signing import SigningIdentity, derive_identity
from tests.support.installation import ROOT, Installation

PAGE = (ROOT / "docs/run/operations.md").read_text()


def command(name: str) -> str:
    """The commands of the page with this name."""
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return found[1].replace(".venv/bin/python", sys.executable)


def run(name: str, installation: Installation, backup: Path) -> str:
    environment = {**installation.environment, "DATA": str(installation.folder), "BACKUP": str(backup)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command(name)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    (tmp_path / "var").mkdir()
    installation = Installation(tmp_path / "var")
    installation.migrate()
    return installation


@pytest.mark.full
def signer_of(installation: Installation) -> SigningIdentity:
    return derive_identity((installation.folder / "secret-key").read_text().strip())


def test_a_backup_of_a_running_server_is_complete_and_restores_elsewhere(
    installation: Installation, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    key = installation.migrate_with_key()
    backup, accepted, enough = tmp_path / "backups/today", [], threading.Event()

    def ask() -> None:
        while not enough.is_set():
            status, body = installation.img2img(key, photo_png, mask_png, prefer="respond-async")
            assert status == 202
            accepted.append(str(body["url"]))

    with installation.serving():
        asking = threading.Thread(target=ask)
        asking.start()
        installation.wait_until(lambda: len(accepted) >= 10)
        before = len(accepted)
        run("back up", installation, backup)
        enough.set()
        asking.join()

    assert [path for path in backup.rglob("*") if path.stat().st_mode & 0o077] == []
    restored = Installation(tmp_path / "restored")
    checked = run("restore", restored, backup)
    assert signer_of(restored) == signer_of(installation), "Content Credentials have the same signer"
    assert ": 0 missing, 0 without a row, 0 altered." in checked
    with restored.serving():
        for url in accepted[:before]:
            restored.wait_until(
                lambda url=url: b'"succeeded"' in restored.get(url, key=key)[1]  # type: ignore[misc]
            )
        image = json.loads(restored.get(accepted[0], key=key)[1])["images"][0]["url"]
        assert restored.get(image, key=key)[0] == 200


def test_a_backup_is_not_restored_over_existing_data(installation: Installation, tmp_path: Path) -> None:
    (installation.folder / "pictures").mkdir()
    run("back up", installation, tmp_path / "backup")
    with pytest.raises(AssertionError, match="File exists"):
        run("restore", installation, tmp_path / "backup")


@pytest.mark.full
def test_the_data_folder_can_be_moved(
    installation: Installation, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    key = installation.migrate_with_key()
    with installation.serving():
        assert installation.img2img(key, photo_png, mask_png)[0] == 200
    run("move", installation, tmp_path / "archive")
    moved = Installation(tmp_path / "var.moved")
    assert ": 0 missing, 0 without a row, 0 altered." in moved.manage("check_files", "--hashes")
    assert (moved.folder / "secret-key").read_text() == (installation.folder / "secret-key").read_text()
