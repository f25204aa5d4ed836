"""Every form of signed link, and every way in which it ends; every place of a key, and every way in which it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.models import ApiKey, User
from inpainting.api.media.links import image_link, public_image_url, result_link
from inpainting.core.image import CanonicalImage
from inpainting.generations.delete import delete
from inpainting.models import Generation, UploadedImage
from inpainting.models.images import StoredImage
from tests.api.ended_keys import KEY_ENDS, end_key
from tests.support.matrix import each_value_once, first_alone

pytestmark = pytest.mark.django_db

NAMED = ["generations", "images/2026-11-22", "outputs/2026-11-22"]
INPUTS = ["source", "mask", "uploaded"]
NATIVE = ["/images/", "/api/images/"]
FORMS = [*NAMED, *INPUTS, *NATIVE]


@dataclass
class Link:
    """A link, with its key, its image and the generation of that."""

    path: str
    key: ApiKey
    image: StoredImage
    generation: Generation | None


@pytest.fixture
def make(alice: User, generate: Callable[..., Generation], photo: Any) -> Callable[[str], Link]:
    """make(form) -> a link that ends with its key."""

    def link(form: str) -> Link:
        key = ApiKey.issue(alice, ends_links=True)[0]
        options: dict[str, Any] = {"origin": "http://testserver", "key": key.pk}
        generation = generate(alice)
        image = generation.images.get()
        if form in NAMED:
            return Link(path_of(result_link(form, "a.png", generation, **options)), key, image, generation)
        if form in NATIVE:
            request = RequestFactory().get("/")
            request.auth = key  # type: ignore[attr-defined]
            path = path_of(public_image_url(image, request)).replace("/images/", form)
            return Link(path, key, image, generation)
        if form == "uploaded":
            tomorrow = timezone.now() + timedelta(days=1)
            uploaded = UploadedImage.from_image(alice, CanonicalImage(photo), expires_at=tomorrow)
            uploaded.save()
            return Link(path_of(image_link("inputs", "a.png", uploaded, **options)), key, uploaded, None)
        canonical = getattr(generation, form)
        return Link(path_of(image_link("inputs", "a.png", canonical, **options)), key, canonical, generation)

    return link


def path_of(url: str) -> str:
    return urlsplit(url).path


def statuses(path: str) -> list[int]:
    """Of a GET, a HEAD and a GET of a part."""
    client = Client()
    part = client.get(path, headers={"Range": "bytes=0-9"})
    return [client.get(path).status_code, client.head(path).status_code, part.status_code]


@pytest.mark.parametrize(("form", "how"), each_value_once(FORMS, KEY_ENDS))
def test_a_link_ends_with_its_key(make: Callable[[str], Link], form: str, how: str) -> None:
    link = make(form)
    assert statuses(link.path) == [200, 200, 206]
    end_key(link.key, how)
    assert statuses(link.path) == [404, 404, 404]


@pytest.mark.parametrize("form", FORMS)
def test_a_link_expires(make: Callable[[str], Link], form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link = make(form)
    for hours, expected in ((23.9, [200, 200, 206]), (24.1, [404, 404, 404])):
        with monkeypatch.context() as later:
            now = timezone.now().timestamp() + hours * 3600
            later.setattr("time.time", lambda now=now: now)
            assert statuses(link.path) == expected


@pytest.mark.parametrize("form", first_alone(*FORMS))
def test_no_character_of_a_link_can_be_changed(make: Callable[[str], Link], form: str) -> None:
    link = make(form)
    start = link.path.index("/", 1) + 1
    for place in range(start, len(link.path)):
        changed = "x" if link.path[place] != "x" else "y"
        altered = link.path[:place] + changed + link.path[place + 1 :]
        assert Client().get(altered).status_code == 404, altered


@pytest.mark.parametrize("form", FORMS)
def test_a_link_whose_file_was_lost_is_gone(make: Callable[[str], Link], form: str) -> None:
    link = make(form)
    Path(link.image.file.path).unlink()
    assert statuses(link.path) == [410, 410, 410]


@pytest.mark.parametrize("form", FORMS)
def test_a_link_to_a_deleted_image_leads_to_nothing(make: Callable[[str], Link], form: str) -> None:
    link = make(form)
    assert delete(link.generation) if link.generation else link.image.delete()
    assert statuses(link.path) == [404, 404, 404]


def test_links_end_with_the_upload_or_generation_that_they_lead_to(make: Callable[[str], Link]) -> None:
    links = [make(form) for form in (*NAMED, *NATIVE, "uploaded")]
    Generation.objects.update(expires_at=timezone.now())
    UploadedImage.objects.update(expires_at=timezone.now())
    assert [statuses(link.path) for link in links] == [[404, 404, 404]] * len(links)


# Keys, at every API


@dataclass(frozen=True)
class Service:
    """A route that accepts generations, and its answers to a request without anything but a key."""

    path: str
    valid: int
    """The status with a valid key: nothing else was sent, which Fooocus reads as text-to-image, without a model 503."""
    refused: int
    """The status with a key that is unknown or has ended."""
    missing: int
    in_body: bool = False


SERVICES = {
    "native": Service("/api/img2img", 400, 401, 401),
    "batch": Service("/api/batches/", 400, 401, 401),
    "sd-inpaint": Service("/sd-inpaint/inpaint", 422, 401, 401),
    "fooocus": Service("/v1/engine/generate", 503, 403, 403),
    "deep-image": Service("/rest_api/process_result", 400, 404, 403),
    "modelslab": Service("/api/v6/images/inpaint", 400, 401, 401, in_body=True),
}


def called(service: Service, key: str | None) -> Any:
    headers = {} if key is None or service.in_body else {"X-API-Key": key}
    body = {"key": key} if key is not None and service.in_body else {}
    return Client(headers=headers).post(service.path, body, content_type="application/json")


@pytest.mark.parametrize("how", KEY_ENDS)
@pytest.mark.parametrize("name", SERVICES)
def test_a_key_that_has_ended_opens_no_api(alice: User, name: str, how: str) -> None:
    service = SERVICES[name]
    key, text = ApiKey.issue(alice)
    assert called(service, text).status_code == service.valid
    assert called(service, None).status_code == service.missing
    made_up = called(service, text[:-4] + "aaaa")
    end_key(key, how)
    ended = called(service, text)
    assert (ended.status_code, made_up.status_code) == (service.refused, service.refused)
    assert set(ended.json()) == set(made_up.json())
    assert text not in ended.content.decode()
    assert not Generation.objects.exists()
