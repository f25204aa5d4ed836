"""Uploads and requests of one user that arrive together do not exceed the user's storage."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import numpy as np
import pytest

from tests.conftest import png
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

LIMIT_MB, AT_ONCE, EACH = 2, 12, 24
SIDE = 400
"""Of images of noise, which no codec makes smaller: 160 KB as a mask, 480 KB as a photo."""
SET_LIMIT = f"""
from accounts.models import User
from inpainting.models import UserLimits
UserLimits.objects.create(user=User.objects.get(), stored_megabytes={LIMIT_MB})
"""
INPUTS = ("uploadedimage", "sourceimage", "mask")


def noise(channels: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, channels), np.uint8)
    return png(pixels[:, :, 0] if channels == 1 else pixels)


def stored_inputs(server: Installation) -> dict[str, int]:
    with closing(sqlite3.connect(server.folder / "dreamlayer.sqlite3", timeout=20)) as database:
        return {
            table: database.execute(f"SELECT coalesce(sum(byte_count), 0) FROM inpainting_{table}").fetchone()[0]  # noqa: S608
            for table in INPUTS
        }


def upload_mask(server: Installation, key: str, seed: int) -> tuple[int, str]:
    boundary = uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="mask.png"\r\n\r\n'.encode()
    body = part + noise(1, seed) + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, answer = server.get("/api/upload-mask", key=key, data=body, headers=headers)
    return status, json.loads(answer).get("code", "")


def submit(server: Installation, key: str, seed: int) -> tuple[int, str]:
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[9, 9] = 0
    status, answer = server.img2img(key, noise(3, seed), png(mask), prefer="respond-async", engine="quick-fill")
    return status, str(answer.get("code", ""))


def test_uploads_at_once_do_not_exceed_the_storage_of_their_owner(server: Installation, server_key: str) -> None:
    server.manage("shell", "--no-imports", "--command", SET_LIMIT)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        sent = [
            clients.submit(send, server, server_key, number) for number in range(EACH) for send in (submit, upload_mask)
        ]
        answers = [answer.result() for answer in sent]
    refused = [answer for answer in answers if answer[0] not in (200, 202)]
    stored = stored_inputs(server)
    print(f"{len(answers) - len(refused)} of {len(answers)} accepted, {stored}")
    assert set(refused) == {(429, "quota_exceeded")}
    assert sum(stored.values()) <= LIMIT_MB * 10**6
    assert sum(stored.values()) > (LIMIT_MB - 1) * 10**6
    assert stored["uploadedimage"]
    files = sum(path.stat().st_size for table in INPUTS for path in (server.folder / "pictures" / table).rglob("*.png"))
    assert files == sum(stored.values())  # those of refused requests are gone
