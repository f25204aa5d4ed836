"""`manage.py move_storage`: from a folder to a bucket and back, also after an interruption."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support.services import S3, s3_server

NAMES = {f"mask/{number:02x}/{number}.png" for number in range(12)}


@pytest.fixture
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server
        server.empty()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
    return tmp_path / "pictures"


def move(source: str, target: str) -> str:
    out = io.StringIO()
    call_command("move_storage", "--from", source, "--to", target, stdout=out)
    return out.getvalue()


def test_a_folder_moves_to_a_bucket_and_back(s3: S3, folder: Path, tmp_path: Path) -> None:
    assert move(folder.as_uri(), s3.url) == "Copied 12 files.\n"
    assert s3.names() == NAMES
    assert move((tmp_path / "nothing").as_uri(), s3.url) == "Copied 0 files.\n"
    back = tmp_path / "back"
    assert move(s3.url, back.as_uri()) == "Copied 12 files.\n"
    assert {str(path.relative_to(back)): path.read_bytes() for path in back.rglob("*.png")} == {
        name: name.encode() for name in NAMES
    }


def test_an_interrupted_move_continues_with_what_is_missing(s3: S3, folder: Path) -> None:
    s3.client.put_object(Bucket=s3.name, Key="mask/00/0.png", Body=b"mask/00/0.png")
    s3.client.put_object(Bucket=s3.name, Key="mask/01/1.png", Body=b"a part")
    assert move(folder.as_uri(), s3.url) == "Copied 11 files.\n"
    assert s3.client.get_object(Bucket=s3.name, Key="mask/01/1.png")["Body"].read() == b"mask/01/1.png"
    assert move(folder.as_uri(), s3.url) == "Copied 0 files.\n"


def test_a_part_in_a_folder_is_replaced(s3: S3, folder: Path, tmp_path: Path) -> None:
    move(folder.as_uri(), s3.url)
    part = tmp_path / "back/mask/02/2.png"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"a part")
    assert move(s3.url, (tmp_path / "back").as_uri()) == "Copied 12 files.\n"
    assert part.read_bytes() == b"mask/02/2.png"


def test_a_bucket_that_forbids_access_is_named(s3: S3, folder: Path) -> None:
    s3.fault = (403, "AccessDenied")
    with pytest.raises(CommandError, match=r"403 AccessDenied.*Repeat the command"):
        move(folder.as_uri(), s3.url)


def test_source_and_target_differ() -> None:
    with pytest.raises(CommandError, match="set DREAMLAYER_STORAGE_URL"):
        call_command("move_storage")
    with pytest.raises(CommandError, match="is not file: or s3:"):
        move("gs://bucket", "s3://host/bucket")
