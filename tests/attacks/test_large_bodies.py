"""Bodies that are expensive to parse are refused cheaply, in JSON and in forms."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = pytest.mark.attack

MIB = 2**20
SIZE = 63 * MIB
ATTACKERS = 3
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


@dataclass(frozen=True)
class Repeated:
    """A body of SIZE bytes. Only its test makes it: every process that collects the tests would hold all of them."""

    start: bytes
    part: bytes
    end: bytes

    def built(self) -> bytes:
        count = (SIZE - len(self.start) - len(self.end)) // len(self.part)
        return self.start + self.part * count + self.end


@dataclass(frozen=True)
class Attack:
    content_type: str
    body: Repeated
    refusal: tuple[int, str]
    path: str = "/api/img2img"


def field(name: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()


MANY_LISTS = Repeated(b'{"prompt": [', b"[],", b"[]]}")
TOO_MANY_VALUES = (400, "body_too_many_values")
ATTACKS = {
    "json lists": Attack(JSON, MANY_LISTS, TOO_MANY_VALUES),
    "json lists without images": Attack(JSON, MANY_LISTS, (413, "body_too_large"), path="/api/tickets/"),
    "json escapes": Attack(JSON, Repeated(b'{"prompt": "', rb"\ud83d\ude00", b'"}'), (400, "field_missing")),
    "form escapes": Attack(FORM, Repeated(b"prompt=", b"%41", b""), TOO_MANY_VALUES),
    "form fields": Attack(FORM, Repeated(b"a=", b"&a=", b""), (400, "body_too_many_parts")),
    "parts": Attack(MULTIPART, Repeated(b"", field("a") + b"\r\n", b"--b--\r\n"), (400, "body_too_many_parts")),
    "almost boundaries": Attack(
        MULTIPART, Repeated(field("prompt"), b"\r\n--", b"\r\n--b--\r\n"), (413, "body_too_large")
    ),
    "json lists in params": Attack(
        MULTIPART, Repeated(field("params") + b'{"a": [', b"[],", b"[]]}\r\n--b--\r\n"), TOO_MANY_VALUES
    ),
}


@pytest.mark.full
@pytest.mark.parametrize("attack", [pytest.param(attack, id=name) for name, attack in ATTACKS.items()])
def test_a_body_that_is_expensive_to_parse_is_refused(server: Installation, server_key: str, attack: Attack) -> None:
    body = attack.body.built()

    def post(number: int) -> tuple[int, str]:
        headers = {"Content-Type": attack.content_type}
        status, answer = server.get(attack.path, key=server_key, data=body, headers=headers)
        return status, json.loads(answer or b"{}").get("code", "")

    with Measurement(server) as measured, ThreadPoolExecutor(ATTACKERS) as attackers:
        answers = list(attackers.map(post, range(ATTACKERS)))
    print(answers[0])
    assert answers == [attack.refusal] * ATTACKERS
    assert measured.slowest_page < 5
    assert measured.extra_memory < 300 * MB
