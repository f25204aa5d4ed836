"""The site behind TLS, which the shipped nginx terminates with a certificate made for the test."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from requests.adapters import HTTPAdapter
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from inpainting.core.codecs import decode_image
from tests.conftest import png
from tests.support.certificates import Authority
from tests.support.installation import Installation
from tests.support.ports import free_port
from tests.support.services import Nginx, shipped_nginx

PASSWORD = "dusk-over-the-bench-42"
OTHER_ADDRESS = "127.0.0.9"
SET_PASSWORD = f"""
from accounts.models import User
user = User.objects.get()
user.set_password({PASSWORD!r})
user.save()
"""


@dataclass(frozen=True)
class Site:
    """front: nginx. certificate: the file of the authority of its certificate."""

    installation: Installation
    front: Nginx
    certificate: Path

    def session(self, *, address: str = "127.0.0.1") -> requests.Session:
        """A browser at this loopback address."""
        session = requests.Session()
        session.trust_env = False  # REQUESTS_CA_BUNDLE would replace the certificate
        session.verify = str(self.certificate)
        session.mount("https://", FromAddress(address))
        return session

    def sign_in(self, session: requests.Session, password: str = PASSWORD, **headers: str) -> requests.Response:
        page = session.get(f"{self.front.url}/accounts/login/", timeout=60)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "login": "alice@example.com", "password": password}
        return session.post(page.url, data=form, headers={"Referer": page.url, **headers}, timeout=60)


class FromAddress(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments: object, **options: object) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(self.address, 0))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """At localhost, with the settings that operations.md and compose.yaml give a site behind a proxy."""
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    for name in ("data", "nginx"):
        (folder / name).mkdir()
    authority = Authority(folder / "certificate")
    origin = f"https://localhost:{port}"
    installation = Installation(
        folder / "data",
        DREAMLAYER_BEHIND_TLS="true",
        DREAMLAYER_ALLOWED_HOSTS="localhost,127.0.0.1",
        DREAMLAYER_SITE_URL=origin,
        DREAMLAYER_TRUSTED_ORIGINS=origin,
    )
    installation.migrate_with_key()
    installation.manage("shell", "--verbosity", "0", "--command", SET_PASSWORD)
    front = shipped_nginx(folder / "nginx", [installation.port], port=port, certificate=authority.issue())
    with installation.serving(), front as started:
        yield Site(installation, started, authority.file)


def test_a_request_without_tls_is_redirected(site: Site) -> None:
    """One that reaches the process past nginx, or from a proxy that has no TLS."""
    url = f"http://localhost:{site.installation.port}/accounts/login/"
    answer = requests.get(url, allow_redirects=False, timeout=60)
    assert answer.status_code == 301
    assert answer.headers["Location"].startswith("https://localhost")
    assert site.installation.get("/livez")[0] == 200


def test_a_claim_of_tls_by_the_client_does_not_pass_nginx(site: Site) -> None:
    answer = site.session().get(
        f"{site.front.url}/accounts/login/", headers={"X-Forwarded-Proto": "http"}, allow_redirects=False, timeout=60
    )
    assert answer.status_code == 200, "nginx says https"


def test_pages_have_hsts_and_cookies_that_no_other_host_can_set(site: Site) -> None:
    session = site.session()
    page = session.get(f"{site.front.url}/accounts/login/", timeout=60)
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    assert site.sign_in(session).url == f"{site.front.url}/"
    cookies = {cookie.name: cookie for cookie in session.cookies}
    assert {"__Host-sessionid", "__Host-csrftoken"} <= set(cookies)
    for cookie in cookies.values():
        assert cookie.secure, cookie.name
        assert cookie.path == "/"
        assert not cookie.domain_specified
        assert cookie.has_nonstandard_attr("HttpOnly"), cookie.name
        assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    assert session.get(f"{site.front.url}/account/", timeout=60).url == f"{site.front.url}/account/"


def test_a_form_of_another_origin_is_refused(site: Site) -> None:
    session = site.session()
    assert site.sign_in(session, Origin="https://evil.example").status_code == 403
    assert site.sign_in(session, Origin=f"http://localhost:{site.installation.port}").status_code == 403


def test_events_come_through_an_encrypted_websocket(site: Site, photo_png: bytes, mask_png: bytes) -> None:
    context = ssl.create_default_context(cafile=str(site.certificate))
    headers = {"X-API-Key": site.installation.key}
    session = site.session()
    url = session.post(f"{site.front.url}/api/tickets/", headers=headers, timeout=60).json()["url"]
    assert url.startswith(site.front.url.replace("https", "wss"))
    with connect(url, ssl=context) as socket:
        files = {"image": photo_png, "mask": mask_png}
        form = {"prompt": "a lawn"}
        made = session.post(f"{site.front.url}/api/img2img", headers=headers, files=files, data=form, timeout=60).json()
        (link,) = made["images"]
        assert link.startswith(f"{site.front.url}/")
        assert session.get(link, timeout=60).content.startswith(b"\x89PNG")
        while (event := json.loads(socket.recv(timeout=60)))["type"] != "succeeded":
            assert event["type"] != "failed"

    site.sign_in(session)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
    address = site.front.url.replace("https", "wss") + "/ws/generations/"
    with connect(address, ssl=context, origin=Origin(site.front.url), additional_headers={"Cookie": cookies}):
        pass
    with pytest.raises(InvalidStatus) as refused:
        connect(address, ssl=context, origin=Origin("https://evil.example"), additional_headers={"Cookie": cookies})
    assert refused.value.response.status_code == 403


def test_the_address_of_a_client_is_that_of_its_connection_to_nginx(site: Site) -> None:
    """Each forged address would have attempts of its own; an owner elsewhere is not locked out."""
    for number in range(6):
        page = site.sign_in(
            site.session(address=OTHER_ADDRESS), "a wrong one", **{"X-Forwarded-For": f"198.51.100.{number}"}
        )
    assert "Too many failed login attempts" in page.text
    locked_out = site.sign_in(site.session(address=OTHER_ADDRESS), **{"X-Forwarded-For": "127.0.0.1"})
    assert "Too many failed login attempts" in locked_out.text
    assert site.sign_in(site.session()).url == f"{site.front.url}/"


def test_large_files_arrive_whole_and_too_large_ones_are_refused(site: Site) -> None:
    headers = {"X-API-Key": site.installation.key}
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    mask = np.full((1500, 1500), 255, np.uint8)
    mask[700:720, 700:720] = 0
    photo = png(noise)
    assert len(photo) > 6_000_000
    url, files, form = f"{site.front.url}/api/img2img", {"image": photo, "mask": png(mask)}, {"prompt": "a lawn"}
    answer = site.session().post(url, headers=headers, files=files, data=form, timeout=120)
    assert answer.status_code == 200, answer.text
    identity = answer.json()["id"]
    source = site.session().get(f"{site.front.url}/api/generations/{identity}/source/", headers=headers, timeout=60)
    assert np.array_equal(decode_image(source.content).image.pixels, noise)
    too_large = {"image": bytes(65 * 2**20)}
    assert site.session().post(url, headers=headers, files=too_large, data=form, timeout=120).status_code == 413
