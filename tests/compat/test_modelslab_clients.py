"""The bodies of real clients of the ModelsLab API, and its published Python package against a server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from inpainting.core.errors import InvalidRequest
from inpainting.worker.run import run_waiting
from tests.compat.modelslab import FETCH, INPAINT, encoded, error, keep_waiting, names_of, pixels, post, white_repaints
from tests.support import image_host
from tests.support.installation import Installation, overriding

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # The package is written for pydantic 2.0.
    from modelslab_py.core.apis.community import Community
    from modelslab_py.core.apis.image_editing import Image_editing
    from modelslab_py.core.client import Client as ModelsLabClient
    from modelslab_py.schemas import image_editing
    from modelslab_py.schemas.community import Image2Image, Inpainting, Text2Image
    from modelslab_py.utils.image_utils import base64_to_image, image_to_base64

ROUTES = Path(__file__).parent.parent / "payloads/modelslab/routes"
"""What modelslab-py sends to the routes beside `images/inpaint`, by its objects' method."""
pytestmark = pytest.mark.filterwarnings("ignore:The `dict` method is deprecated:DeprecationWarning")
PAYLOADS = sorted((Path(__file__).parent.parent / "payloads/modelslab").glob("*.json"))
PHOTO_URL, MASK_URL = "https://photos.example/room.png", "https://photos.example/room-mask.png"


def filled(value: Any, texts: dict[str, str]) -> Any:
    """The value with what its texts stand for."""
    if isinstance(value, dict):
        return {name: filled(tensor, texts) for name, tensor in value.items()}
    if isinstance(value, str):
        for name, text in texts.items():
            value = value.replace(f"{{{name}}}", text)
    return value


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PAYLOADS, ids=[path.stem for path in PAYLOADS])
def test_the_requests_of_real_clients(
    path: Path,
    alices_key: str,
    photo_png: bytes,
    hole: NDArray[np.uint8],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = {PHOTO_URL: photo_png, MASK_URL: white_repaints(hole)}

    def download(url: str, *, field: str, **_: object) -> bytes:
        if url not in images:
            raise InvalidRequest("The host of this URL does not exist.", code="url_not_found", field=field)
        return images[url]

    monkeypatch.setattr("inpainting.api.images.download_image", download)
    texts = {"key": alices_key, "image": encoded(photo_png), "mask": encoded(images[MASK_URL])}
    recorded = filled(json.loads(path.read_text()), texts)
    if recorded["answer"] == "processing":
        keep_waiting(monkeypatch, settings)
    answer = post(INPAINT, recorded["body"], **recorded["headers"])
    if recorded["answer"] not in ("processing", "success"):
        assert error(answer, 400) == recorded["answer"]
        return
    content = answer.json()
    assert (answer.status_code, content["status"]) == (200, recorded["answer"]), content
    if content["status"] == "processing":
        run_waiting()
        content = follow(recorded["follow"], content, alices_key)
    body = recorded["body"]
    width, height = int(body["width"]), int(body["height"])
    assert len(content["output"]) == int(body["samples"])
    for text in content["output"]:
        assert (text.startswith("http://testserver/generations/")) == (body.get("base64") is not True)
    for link in content["proxy_links"]:
        assert pixels(Client().get(link.removeprefix("http://testserver")).getvalue()).shape == (height, width, 3)


def follow(form: str, content: dict[str, Any], key: str) -> dict[str, Any]:
    """Fetch the result as the client does."""
    urls = {"fetch/{id}": f"{FETCH}/{content['id']}", "request_id": FETCH, "fetch_result": content["fetch_result"]}
    url = urls[form].removeprefix("http://testserver")
    answer = post(url, {"key": key, **({"request_id": content["id"]} if form == "request_id" else {})})
    fetched: dict[str, Any] = answer.json()
    assert (answer.status_code, fetched["status"]) == (200, "success")
    return fetched


@pytest.fixture(scope="module")
def impatient_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    """A running server that waits for no result, and a key."""
    site = Installation(tmp_path_factory.mktemp("site"), **overriding(MODELSLAB_WAIT_SECONDS=0))
    key = site.migrate_with_key()
    with site.serving():
        yield site, key


def client_of(site: Installation, key: str) -> ModelsLabClient:
    client = ModelsLabClient(key, fetch_timeout=1)
    client.base_url = f"{site.url}/api/"
    return client


def community_of(site: Installation, key: str) -> Community:
    return Community(client_of(site, key))


def request_of(**fields: Any) -> Inpainting:
    return Inpainting(prompt="a cat sitting on a bench", model_id="lazymixv4-inpaint", width=256, height=256, **fields)


def test_modelslab_py_paints(open_site: Installation, open_site_key: str, image_port: int) -> None:
    host = f"http://127.0.0.1:{image_port}"
    sent = request_of(init_image=f"{host}/photo.png", mask_image=f"{host}/mask.png", samples=2, safety_checker="no")
    content = community_of(open_site, open_site_key).inpainting(sent)
    assert (content["status"], len(content["output"])) == ("success", 2)
    for link in content["output"]:
        answer = requests.get(link, timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        assert pixels(answer.content).shape == (256, 256, 3)


def test_modelslab_pys_base64_helpers(open_site: Installation, open_site_key: str) -> None:
    images = {"init_image": image_host.photo(), "mask_image": image_host.mask()}
    sent = request_of(**{name: image_to_base64(image) for name, image in images.items()}, base64=True)
    content = community_of(open_site, open_site_key).inpainting(sent)
    (text,) = content["output"]
    assert base64_to_image(text).size == (256, 256)


@pytest.mark.full  # a server of its own; `follow` fetches in every form
def test_modelslab_py_fetches(impatient_site: tuple[Installation, str]) -> None:
    community = community_of(*impatient_site)
    image, mask = image_to_base64(image_host.photo()), image_to_base64(image_host.mask())
    content = community.inpainting(request_of(init_image=image, mask_image=mask))
    assert (content["status"], content["output"]) == ("processing", [])
    fetched = community.fetch(str(content["id"]))
    assert (fetched["status"], fetched["id"]) == ("success", content["id"])
    for link in (*fetched["output"], *content["future_links"]):
        with Image.open(requests.get(link, stream=True, timeout=60).raw) as result:
            assert result.size == (256, 256)


def test_modelslab_py_raises_for_a_wrong_key(open_site: Installation) -> None:
    with pytest.raises(Exception, match=r"status code 401: .*Invalid API key"):
        community_of(open_site, "your_api_key").inpainting(request_of(init_image="", mask_image=""))


def calls(community: Community, editing: Image_editing, image: str, mask: str) -> dict[str, Callable[[], Any]]:
    """A call of each method for a route beside `images/inpaint`, with the defaults of its schema."""
    images = {"init_image": image, "mask_image": mask}
    return {
        "text_to_image": lambda: community.text_to_image(Text2Image(prompt="a", model_id="lazymixv4-inpaint")),
        "image_to_image": lambda: community.image_to_image(
            Image2Image(prompt="a", model_id="lazymixv4-inpaint", init_image=image)
        ),
        "inpainting": lambda: editing.inpainting(image_editing.InpaintingSchema(prompt="a cat", **images)),
        "object_remover": lambda: editing.object_remover(image_editing.ObjectRemovalSchema(**images)),
        "outpainting": lambda: editing.outpainting(image_editing.OutpaintingSchema(prompt="a cat", image=image)),
        "super_resolution": lambda: editing.super_resolution(image_editing.SuperResolutionSchema(init_image=image)),
        "caption": lambda: editing.caption(image_editing.CaptionSchema(init_image=image)),
    }


SIZES = {
    "inpainting": (512, 512),
    "object_remover": (384, 256),
    "outpainting": (512, 512),
    "super_resolution": (1536, 1024),
}
"""The sizes of the results for `image_host.photo`, of 384x256; the other methods need a model, or describe."""
NEEDS_MODEL = ("text_to_image", "image_to_image")


def test_modelslab_py_sends_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    def post(client: ModelsLabClient, endpoint: str, data: dict[str, Any]) -> None:
        sent.append({"path": endpoint.removeprefix("https://modelslab.com"), "body": {"key": "{key}", **data}})

    monkeypatch.setattr(ModelsLabClient, "post", post)
    client = ModelsLabClient("key")
    for name, call in calls(Community(client), Image_editing(client), "{image}", "{mask}").items():
        call()
        assert json.loads((ROUTES / f"{name}.json").read_text()) == sent[-1], name


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", list(calls(None, None, "", "")))
def test_a_recorded_request_of_modelslab_py_is_answered(name: str, alices_key: str) -> None:
    texts = {"key": alices_key, "image": encoded(image_host.encoded(image_host.photo()))}
    texts["mask"] = encoded(image_host.encoded(image_host.mask()))
    recorded = filled(json.loads((ROUTES / f"{name}.json").read_text()), texts)
    answer = post(recorded["path"], recorded["body"], **{"X-Requested-With": "modelslab-py"})
    if name in NEEDS_MODEL:
        assert "model" in error(answer, 503)
        return
    content = answer.json()
    assert (answer.status_code, content["status"]) == (200, "success"), content
    (link,) = content["output"]
    if name == "caption":
        assert link.startswith("a photo")
        return
    painted = pixels(Client().get(link.removeprefix("http://testserver")).getvalue())
    assert painted.shape[1::-1] == SIZES[name]
    if name == "object_remover":
        hole, photo = np.asarray(image_host.mask()) > 0, np.asarray(image_host.photo())
        assert np.array_equal(painted[~hole], photo[~hole])
        assert not np.array_equal(painted[hole], photo[hole])


def test_modelslab_pys_objects_edit_images(open_site: Installation, open_site_key: str) -> None:
    client = client_of(open_site, open_site_key)
    community, editing = Community(client), Image_editing(client)
    image, mask = (image_to_base64(each) for each in (image_host.photo(), image_host.mask()))
    made = calls(community, editing, image, mask)
    for name, size in SIZES.items():
        content = made[name]()
        assert (content["status"], content["meta"]["W"], content["meta"]["H"]) == ("success", *size), name
        with Image.open(requests.get(content["output"][0], stream=True, timeout=60).raw) as result:
            assert result.size == size
        assert names_of(editing.fetch(str(content["id"]))["output"]) == names_of(content["output"])
    assert made["caption"]()["output"][0].startswith("a photo")
    for name in NEEDS_MODEL:
        with pytest.raises(Exception, match=r"status code 503: .*model"):
            made[name]()


def test_modelslab_pys_objects_for_enterprises_edit_images(open_site: Installation, open_site_key: str) -> None:
    editing = Image_editing(client_of(open_site, open_site_key), enterprise=True)
    image, mask = (image_to_base64(each) for each in (image_host.photo(), image_host.mask()))
    content = editing.object_remover(image_editing.ObjectRemovalSchema(init_image=image, mask_image=mask))
    assert names_of(editing.fetch(str(content["id"]))["output"]) == names_of(content["output"])
