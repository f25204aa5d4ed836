"""Names of files that users choose are harmless in every ZIP: results of a batch, a selection, and the export."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from inpainting.models import Batch, BatchItem, Generation, SourceImage
from tests.accounts.codes import confirm

pytestmark = [pytest.mark.attack, pytest.mark.full, pytest.mark.django_db]
Generate = Callable[..., Generation]

NAMES = [
    *("../../../etc/passwd", "..", ".", "/etc/passwd", "//server/share/a.png", "~/.ssh/authorized_keys", "./a/../b"),
    *("..\\..\\windows\\a.dll", "C:\\autoexec.bat", "C:evil.png", "\\\\?\\C:\\a.png", "a.png:stream", "a\0b.png"),
    *("con", "CON.png", "nul.tar.gz", "com1.png", "LPT9", "com\u00b9.png", "aux .png", "conin$", "prn...png", " .png"),
    *("a\r\nb.png", "a\x1b[31mred.png", "photo\u202egnp.exe", "a\u2028b.png", "a\u200b.png", "\ufefftext.png"),
    *("x" * 300 + ".png", "\u4f60" * 300, "\U00020000" * 300 + ".png", "e\u0301" * 300 + ".png", "\u0130" * 90),
    *("A.png", "a.png", "a.PNG", "stra\u00dfe.png", "STRASSE.png", "\u00e9.png", "e\u0301.png", "\u212bngstr.png"),
    *("<script>alert(1)</script>.png", "$(reboot).png", "`id`.png", "-rf.png", "--help", "'; DROP TABLE x;--.png"),
    *("%2e%2e%2f", "=cmd|' /C calc'!A0.png", "manifest.json", "manifest.json.png", ".htaccess", "a" * 80 + "/b.png"),
    *("trailing. .", "a\u0085b.png"),
]
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
MAX_NAME_BYTES = 255
"""Of ext4, XFS and APFS; NTFS has as many characters."""


@pytest.fixture
def generations(alice: User, generate: Generate) -> list[Generation]:
    """One generation for each name, as any way in may have stored it."""
    made = []
    for name in NAMES:
        generation = generate(alice)
        generation.source.name = name[: SourceImage._meta.get_field("name").max_length]
        generation.source.save()
        made.append(generation)
    return made


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return confirm(client)


def contents(answer: Any) -> ZipFile:
    assert answer.status_code == 200
    return ZipFile(io.BytesIO(answer.getvalue()))


def check(archive: ZipFile, folder: Path) -> None:
    """Look at the names as programs of Linux, Windows and macOS do, and extract them."""
    names = archive.namelist()
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)
    for name in names:
        assert not name.startswith(("/", "~"))
        assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in name), ascii(
            name
        )
        for part in PurePosixPath(name).parts:
            assert not re.search(r'[\\:*?"<>|$`;&]', part), part
            assert not part.startswith(("-", "..", "=")), part
            assert not part.endswith((".", " ")), part
            assert not RESERVED.fullmatch(part.partition(".")[0].strip()), part
            assert len(part.encode()) <= MAX_NAME_BYTES, part
    archive.extractall(folder)
    extracted = [path for path in folder.rglob("*") if path.is_file()]
    assert len(extracted) == len(names)
    assert archive.testzip() is None


def test_the_results_of_a_batch(generations: list[Generation], alices_program: Client, tmp_path: Path) -> None:
    batch = Batch.objects.create(owner=generations[0].owner)
    for index, generation in enumerate(generations):
        BatchItem.objects.create(batch=batch, index=index, name=NAMES[index][:80], generation=generation)
    archive = contents(alices_program.get(f"/api/batches/{batch.pk}/results.zip"))
    assert len(archive.namelist()) == len(NAMES) + 1
    check(archive, tmp_path)


def test_a_selection_of_the_history(generations: list[Generation], browser: Client, tmp_path: Path) -> None:
    selected = {"generation": [str(generation.pk) for generation in generations]}
    archive = contents(browser.post("/history/download/", selected))
    assert len(archive.namelist()) == len(NAMES) + 1
    check(archive, tmp_path)


def test_the_export(generations: list[Generation], browser: Client, tmp_path: Path) -> None:
    check(contents(browser.get("/account/export.zip")), tmp_path)


@pytest.mark.parametrize("name", ["../../a.png", "con.png", "\U00020000" * 90, "a\r\nSet-Cookie: a=b", "\u202egnp.exe"])
def test_names_as_a_form_sends_them(
    alices_program: Client, browser: Client, photo_png: bytes, mask_png: bytes, tmp_path: Path, name: str
) -> None:
    """Through the parser of forms, which drops a part of them."""
    image, mask = (SimpleUploadedFile("a.png", data, "image/png") for data in (photo_png, mask_png))
    vars(image)["_name"] = name  # as the setter of `name` shortens it
    sent = {"image": image, "mask": mask, "prompt": "a lawn"}
    assert alices_program.post("/api/img2img", sent, headers={"Prefer": "respond-async"}).status_code == 202
    check(contents(browser.get("/account/export.zip")), tmp_path)
