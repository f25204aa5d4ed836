"""The examples printed in the services' documentation work as printed, but for addresses, keys and image URLs."""

from __future__ import annotations

import base64
import json
import runpy
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from PIL import Image

from tests.support import image_host
from tests.support.installation import Installation

SNIPPETS = Path(__file__).parent.parent / "payloads" / "snippets"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the examples open."""
    image_host.write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(name: str, **replaced: str) -> str:
    """The text of an example. replaced: what stands for an address or a key of its own."""
    text = (SNIPPETS / f"{name}.txt").read_text()
    for old, new in replaced.items():
        assert old in text, f"{name} does not contain {old}"
        text = text.replace(old, new)
    return text


def run_python(text: str, folder: Path, **names: Any) -> dict[str, Any]:
    """Run an example in the current folder. Return its variables. names: those that it expects."""
    program = folder / "example.py"
    program.write_text(text)
    return runpy.run_path(str(program), init_globals=names)


def has_shape(found: Any, printed: Any) -> bool:
    """Whether the JSON has every key that is printed, with a value of its type."""
    if isinstance(printed, dict):
        return isinstance(found, dict) and all(
            name in found and has_shape(found[name], printed[name]) for name in printed
        )
    if isinstance(printed, list):
        return isinstance(found, list) and bool(found) and has_shape(found[0], printed[0])
    return isinstance(found, type(printed))


def assert_repainted_inside(path: Path) -> None:
    """Check that the file is a PNG of the photo that differs from it where the mask is white, and only there."""
    with Image.open(path) as result:
        assert (result.format, result.mode, result.size) == ("PNG", "RGB", image_host.SIZE)
        changed = np.any(np.asarray(result) != np.asarray(Image.open("input.jpg").convert("RGB")), axis=2)
    inside = np.asarray(image_host.mask()) > 0
    assert changed[inside].any()
    assert not changed[~inside].any()


# DreamLayer


def test_dreamlayers_request_and_answer(open_site: Installation, folder: Path) -> None:
    method, path = text_of("dreamlayer/route.http").split()
    with (folder / "input.png").open("rb") as image_file, (folder / "mask.png").open("rb") as mask_file:
        sent = run_python(text_of("dreamlayer/img2img.py"), folder, image_file=image_file, mask_file=mask_file)
        answer = requests.request(method, f"{open_site.url}{path}", files=sent["files"], data=sent["data"], timeout=120)
    assert answer.status_code == 200
    printed = json.loads(text_of("dreamlayer/answer.json"))
    assert has_shape(answer.json(), printed), answer.json()
    assert {name: answer.json()["metadata"][name] for name in printed["metadata"]} == printed["metadata"]
    assert requests.get(answer.json()["images"][0], timeout=60).headers["Content-Type"] == "image/png"


# SD Inpainting API

SD_INPAINT = "http://localhost:8000"


def run_sd_inpaints_curl_line(site: Installation) -> None:
    line = text_of("sd_inpaint/inpaint.sh", **{SD_INPAINT: site.url})
    subprocess.run(["bash", "-e", "-c", line], check=True, capture_output=True)


def test_sd_inpaints_curl_line(open_site: Installation, folder: Path) -> None:
    run_sd_inpaints_curl_line(open_site)
    assert_repainted_inside(folder / "result.png")


def test_sd_inpaints_python_program(open_site: Installation, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_python(text_of("sd_inpaint/inpaint.py", **{SD_INPAINT: open_site.url}), folder)
    assert capsys.readouterr().out == "Inpainting successful!\n"
    assert_repainted_inside(folder / "result.png")


@pytest.mark.parametrize("name", ["mask_pillow", "mask_opencv"])
def test_sd_inpaints_masks(open_site: Installation, folder: Path, name: str) -> None:
    Image.new("RGB", (512, 512), "teal").save("input.jpg")
    run_python(text_of(f"sd_inpaint/{name}.py"), folder)
    run_sd_inpaints_curl_line(open_site)
    with Image.open("result.png") as result:
        assert result.size == (512, 512)


@pytest.mark.parametrize("name", ["object_removal", "object_replacement", "image_extension", "detail_modification"])
def test_sd_inpaints_prompts(open_site: Installation, folder: Path, name: str) -> None:
    prompts = yaml.safe_load(text_of(f"sd_inpaint/{name}.yaml"))
    assert set(prompts) == {"prompt", "negative_prompt"}
    files = {"image": (folder / "input.jpg").read_bytes(), "mask": (folder / "mask.png").read_bytes()}
    answer = requests.post(f"{open_site.url}/sd-inpaint/inpaint", files=files, data=prompts, timeout=120)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")


def test_sd_inpaints_health(open_site: Installation) -> None:
    answer = requests.get(f"{open_site.url}/sd-inpaint/health", timeout=60)
    assert answer.json() == json.loads(text_of("sd_inpaint/health.json"))


def test_sd_inpaints_environment(open_site: Installation) -> None:
    name, value = text_of("sd_inpaint/environment.sh").strip().split("=")
    assert yaml.safe_load(text_of("sd_inpaint/environment.yaml")) == {"environment": [f"{name}={value}"]}
    assert open_site.environment[name] == value
    assert f"{name}: No diffusion model is installed" in open_site.log


# ModelsLab

MODELSLAB_IMAGES = "https://raw.githubusercontent.com"


def test_modelslabs_curl_line_and_body(
    open_site: Installation, open_site_key: str, image_port: int, folder: Path
) -> None:
    replaced = {MODELSLAB_IMAGES: f"http://127.0.0.1:{image_port}", "your_api_key": open_site_key}
    (folder / "body.json").write_text(text_of("modelslab/inpaint.json", **replaced))
    line = text_of("modelslab/inpaint.curl", **{"https://modelslab.com": open_site.url})
    command = f"curl --fail-with-body -sS {line} -H 'Content-Type: application/json' -d @body.json"
    done = subprocess.run(["bash", "-e", "-c", command], check=True, capture_output=True)
    answer = json.loads(done.stdout)
    assert answer["status"] == "success", answer
    (url,) = answer["output"]
    with Image.open(BytesIO(requests.get(url, timeout=60).content)) as image:
        assert image.size == (512, 512)


# FooocusAPI

FOOOCUS = "http://localhost:7866"
FOOOCUS_IMAGE = f"{FOOOCUS}/outputs/2024-07-27/2024-07-26_16-13-33_3951.png"
FOOOCUS_MASK = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABIAAAAOACAA..."


def fooocus_result(name: str, folder: Path, replaced: dict[str, str]) -> str:
    """Run an example, which calls the server. Return the URL of its result."""
    answer = run_python(text_of(f"fooocus/{name}.py", **replaced), folder)["response"]
    assert (answer.status_code, answer.json()["task_status"]) == (200, "finished"), answer.text
    (url,) = answer.json()["result"]
    return str(url)


def test_fooocus_programs(open_site: Installation, image_port: int, folder: Path) -> None:
    mask = base64.b64encode(image_host.encoded(image_host.mask())).decode()
    canonical = f"http://127.0.0.1:{image_port}/photo.png"
    images = {FOOOCUS_IMAGE: canonical, FOOOCUS_MASK: f"data:image/png;base64,{mask}"}
    painted = fooocus_result("inpaint", folder, {**images, FOOOCUS: open_site.url})
    (folder / "result.png").write_bytes(requests.get(painted, timeout=60).content)
    image_host.photo().save("input.jpg", "PNG")
    assert_repainted_inside(folder / "result.png")

    wider = fooocus_result("outpaint", folder, {FOOOCUS_IMAGE: painted, FOOOCUS: open_site.url})
    width, height = image_host.SIZE
    with Image.open(BytesIO(requests.get(wider, timeout=60).content)) as image:
        assert image.size == (width + width // 3, height + height // 3)


def test_fooocus_masks_name_the_command_that_installs_the_model(
    open_site: Installation, image_port: int, folder: Path
) -> None:
    replaced = {FOOOCUS_IMAGE: f"http://127.0.0.1:{image_port}/photo.png", FOOOCUS: open_site.url}
    answer = run_python(text_of("fooocus/generate_mask.py", **replaced), folder)["response"]
    assert answer.status_code == 400
    assert "manage.py pull_model isnet-general-use" in answer.json()["detail"]


# Deep-Image


@pytest.mark.parametrize(
    ("name", "address", "size"),
    [
        ("inpainting", "https://s3.eu-central-1.amazonaws.com", image_host.SIZE),
        ("outpainting", "https://deep-image.ai", (2000, 1000)),
        pytest.param(*("outpainting_with_description", "https://deep-image.ai", (2000, 1000)), marks=pytest.mark.full),
    ],
)
def test_deep_images_requests(
    open_site: Installation, open_site_key: str, image_port: int, name: str, address: str, size: tuple[int, int]
) -> None:
    body = json.loads(text_of(f"deep_image/{name}.json", **{address: f"http://127.0.0.1:{image_port}"}))
    url, headers = f"{open_site.url}/rest_api", {"x-api-key": open_site_key}
    found = requests.post(f"{url}/process_result", json=body, headers=headers, timeout=120).json()
    while found["status"] == "in_progress":
        found = requests.get(f"{url}/result/{found['job']}", headers=headers, timeout=120).json()
    result = requests.get(found["result_url"], timeout=60)
    with Image.open(BytesIO(result.content)) as image:
        assert image.size == size


POLLING = """
import json
import time
from pathlib import Path
from urllib.request import urlretrieve

import requests

headers = {"x-api-key": API_KEY}
parameters = {"width": 500, "height": 300, "fit": {"canvas": "outpainting"}, "output_format": "jpg"}

with open("photo.png", "rb") as f:
    response = requests.post(
        ADDRESS,
        headers=headers,
        files={"image": f},
        data={"parameters": json.dumps(parameters)},
    )
if response.status_code == 200:
    response_json = response.json()
    first_status = response_json.get("status")
    if response_json.get("status") == "complete":
        p = Path(response_json["result_url"])
        urlretrieve(response_json["result_url"], p.name)
    elif response_json["status"] in ["received", "in_progress"]:
        while response_json["status"] == "in_progress":
            response = requests.get(f"{RESULTS}/{response_json['job']}", headers=headers)
            response_json = response.json()
            time.sleep(1)
        if response_json["status"] == "complete":
            p = Path(response_json["result_url"])
            urlretrieve(response_json["result_url"], p.name)
"""
"""The steps of the documented Python program, which many clients copy."""


@pytest.mark.parametrize(("route", "first_status"), [("process_result", "complete"), ("process", "in_progress")])
def test_deep_images_polling_program(
    open_site: Installation, open_site_key: str, folder: Path, route: str, first_status: str
) -> None:
    url = f"{open_site.url}/rest_api"
    names = {"API_KEY": open_site_key, "ADDRESS": f"{url}/{route}", "RESULTS": f"{url}/result"}
    variables = run_python(POLLING, folder, **names)
    assert variables["first_status"] == first_status
    assert variables["p"].suffix == ".jpg"
    with Image.open(folder / variables["p"].name) as image:
        assert (image.format, image.size) == ("JPEG", (500, 300))
