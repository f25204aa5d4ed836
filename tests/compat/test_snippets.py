"""The examples printed in the services' documentation work as printed, but for addresses, keys and picture URLs."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from PIL import Image

from tests import picture_host
from tests.installation import Installation

SNIPPETS = Path(__file__).parent.parent / "payloads" / "snippets"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the examples open."""
    picture_host.write_pictures(tmp_path)
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
        assert (result.format, result.mode, result.size) == ("PNG", "RGB", picture_host.SIZE)
        changed = np.any(np.asarray(result) != np.asarray(Image.open("input.jpg").convert("RGB")), axis=2)
    inside = np.asarray(picture_host.mask()) > 0
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
