"""Response headers, settings behind TLS, allowed hosts and allowed origins."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client
from django.utils.module_loading import import_string
from pytest_django import Settings

from accounts.models import User
from dreamlayer_site import settings as own_settings
from dreamlayer_site.hosts import own_hosts
from dreamlayer_site.server import supervisor
from dreamlayer_site.server.body_limit import BodyLimitMiddleware
from inpainting.api import dialects
from inpainting.api.media.links import SIGNER
from inpainting.models import Generation
from tests.support.installation import ROOT, Installation

Generate = Callable[..., Generation]
FOREIGN = "https://front.example"
PAGES = ["/", "/history/", "/keys/", "/accounts/login/", "/accounts/password/reset/", "/admin/", "/nowhere/"]


@pytest.fixture
def boss(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("boss@example.com", "a long one"))
    return client


def directives(policy: str) -> dict[str, list[str]]:
    parts = [part.split() for part in policy.split(";") if part.strip()]
    return {name: sorted(sources) for name, *sources in parts}


def test_pages_are_compressed_and_the_api_is_not(boss: Client) -> None:
    page = boss.get("/", headers={"Accept-Encoding": "gzip"})
    assert page["Content-Encoding"] == "gzip"
    assert len(page.content) < 20_000
    assert b'id="editor"' in gzip.decompress(page.content)
    assert "Content-Encoding" not in boss.get("/")
    assert "Content-Encoding" not in boss.get("/api/schema/", headers={"Accept-Encoding": "gzip"})


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_a_content_security_policy(boss: Client, path: str) -> None:
    policy = directives(boss.get(path)["Content-Security-Policy"])
    nonces = [source for source in policy["script-src"] if source.startswith("'nonce-")]
    assert policy == {
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "script-src": sorted(["'self'", *nonces]),
        "style-src": ["'self'"],
        "connect-src": ["'self'", "ws:", "wss:"],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }


@pytest.mark.parametrize("path", ["/", "/history/", "/accounts/login/", "/nowhere/"])
def test_the_inline_script_has_the_nonce_of_its_response(client: Client, alice: User, path: str) -> None:
    client.force_login(alice)
    seen = set()
    for _ in range(2):
        answer = client.get(path, follow=True)
        (nonce,) = re.findall(r"'nonce-([^']+)'", answer["Content-Security-Policy"])
        inline = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)([^>]*)>", answer.content.decode())
        assert inline
        assert all(f'nonce="{nonce}"' in attributes for attributes in inline)
        seen.add(nonce)
    assert len(seen) == 2


@pytest.mark.parametrize("path", [*PAGES, "/livez", "/api/img2img", "/static/css/dreamlayer.css"])
def test_every_response_is_same_origin(boss: Client, path: str, settings: Any) -> None:
    settings.SERVESTATIC_USE_FINDERS = True
    answer = boss.get(path)
    headers = answer.headers
    assert (answer.status_code == 404) == (path == "/nowhere/")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Content-Security-Policy"]


def test_an_image_keeps_its_stricter_policy(alice: User, alices_program: Client, generate: Generate) -> None:
    generation = generate(alice)
    for path in ("source/", "mask/", "images/0/"):
        headers = alices_program.get(f"/api/generations/{generation.pk}/{path}").headers
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    token = SIGNER.sign(generation.images.get().pk.hex)
    assert Client().get(f"/images/{token}.png")["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("path", ["/", "/api/img2img", "/accounts/login/", "/admin/", "/nowhere/"])
def test_a_forged_host_is_refused(client: Client, db: None, path: str) -> None:
    answer = client.get(path, headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "evil.example" not in answer.content.decode()


def test_the_bound_address_is_an_allowed_host() -> None:
    assert own_hosts("192.168.1.7") == ["localhost", "127.0.0.1", "[::1]", "192.168.1.7"]
    assert own_hosts("fd00::7")[-1] == own_hosts("[fd00::7]")[-1] == "[fd00::7]"
    assert "*" not in own_hosts("")


def test_passwords_are_hashed_with_argon2() -> None:
    assert issubclass(import_string(own_settings.PASSWORD_HASHERS[0]), Argon2PasswordHasher)


# Other origins


def preflight(client: Client, path: str, origin: str) -> dict[str, str]:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, prefer",
    }
    answer = client.options(path, headers=headers)
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


def test_other_origins_are_refused_unless_allowed(client: Client, db: None, settings: Settings) -> None:
    assert preflight(client, "/api/img2img", FOREIGN) == {}
    settings.CORS_ALLOWED_ORIGINS = [FOREIGN]
    headers = preflight(client, "/api/img2img", FOREIGN)
    assert headers["access-control-allow-origin"] == FOREIGN
    assert {"authorization", "x-api-key", "key", "x-application-name", "prefer", "content-type"} <= set(
        headers["access-control-allow-headers"].replace(" ", "").split(",")
    )
    assert "access-control-allow-credentials" not in headers
    assert preflight(client, "/api/img2img", "https://front.example.evil.example") == {}
    for path in ("/", "/keys/", "/accounts/login/", "/admin/"):
        assert preflight(client, path, FOREIGN) == {}


@pytest.mark.parametrize(
    "prefix", sorted(prefix for dialect in dialects.registered_dialects() for prefix in dialect.prefixes)
)
def test_an_allowed_origin_can_call_every_dialect(client: Client, db: None, settings: Settings, prefix: str) -> None:
    assert "access-control-allow-origin" not in preflight(client, prefix, FOREIGN)
    settings.CORS_ALLOWED_ORIGINS = [FOREIGN]
    headers = preflight(client, prefix, FOREIGN)
    assert headers["access-control-allow-origin"] == FOREIGN
    allowed = headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "key", "x-api-key"} <= set(allowed)
    answer = client.get(f"{prefix.rstrip('/')}/nowhere/at/all", headers={"Origin": FOREIGN})
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (404, FOREIGN)
    assert "x-dreamlayer-engine" in answer["Access-Control-Expose-Headers"]


def test_an_allowed_origin_is_accepted_with_a_key_and_not_with_a_session(
    client: Client, alice: User, alices_program: Client, settings: Settings
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [FOREIGN]
    answer = alices_program.post("/api/img2img", headers={"Origin": FOREIGN})
    assert answer["Access-Control-Allow-Origin"] == FOREIGN
    assert "origin" in answer["Vary"].lower()
    page = Client(enforce_csrf_checks=True)
    page.force_login(alice)
    assert page.post("/api/img2img", headers={"Origin": FOREIGN}).json()["code"] == "csrf"


def test_an_allowed_origin_can_use_the_headers_of_downloads_and_async_requests(
    alices_program: Client, alice: User, generate: Generate, settings: Settings
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [FOREIGN]
    allowed = preflight(alices_program, "/api/img2img", FOREIGN)["access-control-allow-headers"]
    assert {"idempotency-key", "prefer", "range", "if-range", "if-none-match"} <= set(allowed.split(", "))
    url = f"/api/generations/{generate(alice).pk}/images/0/"
    answer = alices_program.get(url, headers={"Origin": FOREIGN, "Range": "bytes=0-9"})
    exposed = set(answer["Access-Control-Expose-Headers"].split(", "))
    for name in ("Accept-Ranges", "Content-Range", "ETag"):
        assert name in answer
        assert name.lower() in exposed
    assert {"retry-after", "preference-applied", "location", "content-disposition"} <= exposed


@pytest.mark.parametrize("origin", [FOREIGN, "https://evil.example", None])
async def test_an_allowed_origin_can_read_the_413(origin: str | None, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS, settings.MAX_BODY_BYTES = [FOREIGN], 10

    sent: list[Any] = []

    async def unused(*arguments: object) -> None:
        raise AssertionError("it was let through")

    async def send(message: object) -> None:
        sent.append(message)

    headers = [(b"content-length", b"11"), *([(b"origin", origin.encode())] if origin else [])]
    scope = {"type": "http", "method": "POST", "path": "/api/img2img", "headers": headers}
    await BodyLimitMiddleware(unused)(scope, unused, send)  # type: ignore[arg-type]  # it must not receive either
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    fields = dict(sent[0]["headers"])
    assert (sent[0]["status"], fields[b"content-type"]) == (413, b"application/json")
    assert fields.get(b"access-control-allow-origin") == (FOREIGN.encode() if origin == FOREIGN else None)


# Behind TLS, with the site's own settings in a process of its own


def python(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DREAMLAYER_", "DJANGO_"))}
    environment = {**kept, "DREAMLAYER_DATA_DIR": str(folder), "DREAMLAYER_BEHIND_TLS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_behind_tls_cookies_and_redirects_require_tls(tmp_path: Path) -> None:
    program = """
import json, os, re, django
os.environ["DJANGO_SETTINGS_MODULE"] = "dreamlayer_site.settings"
django.setup()
from django.test import Client
from accounts.models import User
User.objects.create_user("alice@example.com", "correct horse")
plain = Client().get("/accounts/login/", headers={"host": "localhost"})
tls = Client(headers={"host": "localhost", "x-forwarded-proto": "https"}, enforce_csrf_checks=True)
page = tls.get("/accounts/login/")
form = {
    "login": "alice@example.com",
    "password": "correct horse",
    "csrfmiddlewaretoken": re.search(r'csrfmiddlewaretoken" value="([A-Za-z0-9]+)"', page.content.decode())[1],
}
signed_in = tls.post("/accounts/login/", form, headers={"referer": "https://localhost/accounts/login/"})
cookies = {
    name: [bool(morsel["secure"]), bool(morsel["httponly"]), morsel["path"], morsel["domain"], morsel["samesite"]]
    for name, morsel in tls.cookies.items()
}
print(json.dumps({
    "plain": [plain.status_code, plain["Location"]],
    "hsts": page["Strict-Transport-Security"],
    "signed in": [signed_in.status_code, tls.get("/").status_code],
    "cookies": cookies,
    "hash": User.objects.get().password.partition("$")[0],
}))
"""
    Installation(tmp_path).migrate()
    done = python(program, tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["plain"] == [301, "https://localhost/accounts/login/"]
    assert result["hsts"] == "max-age=31536000; includeSubDomains; preload"
    assert result["signed in"] == [302, 200]
    assert {"__Host-sessionid", "__Host-csrftoken"} <= set(result["cookies"])
    for name, attributes in result["cookies"].items():
        if name.startswith("__Host-"):
            assert attributes == [True, True, "/", "", "Lax"]
    assert result["hash"] == "argon2"


@pytest.mark.full  # `make lint` runs the same check
def test_the_deployment_check_finds_nothing(tmp_path: Path) -> None:
    program = """
import sys
sys.argv = ["manage.py", "check", "--deploy", "--fail-level", "WARNING"]
import manage
manage.main()
"""
    done = python(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--host", "0.0.0.0"], {"DREAMLAYER_ANONYMOUS_API": "1"}),  # noqa: S104 - refused before anything listens long
        pytest.param([], {"DREAMLAYER_ALLOWED_HOSTS": "*"}, marks=pytest.mark.full),
    ],
)
def test_serve_does_not_start_with_unsafe_settings(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    installation = Installation(tmp_path, **environment)
    command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(installation.port), *arguments]
    done = subprocess.run(
        command, env=installation.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == supervisor.INVALID_SETTINGS
    assert "dreamlayer.E00" in done.stderr
    assert "restarting it" not in done.stderr
    assert "Traceback" not in done.stderr
