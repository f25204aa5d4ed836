"""What the responses of all services list as ignored: what was sent and has no effect, by the names of the caller."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray

from inpainting.models import Generation
from tests.compat.fooocus import base64_of
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

GENERATE = "background.generate."


class Callers:
    """One caller for each service, all without a diffusion model. Each returns the names that are listed."""

    def __init__(self, client: Client, key: str, image: bytes, mask: bytes) -> None:
        self.client, self.key, self.image, self.mask = client, key, image, mask

    def sd_inpaint(self, **sent: Any) -> list[str]:
        files = {
            name: SimpleUploadedFile(f"{name}.png", data, "image/png")
            for name, data in (("image", self.image), ("mask", self.mask))
        }
        return self.listed(self.client.post("/sd-inpaint/inpaint", {**files, "prompt": "a rose", **sent}))

    def modelslab(self, **sent: Any) -> list[str]:
        images = {"init_image": base64_of(self.image), "mask_image": base64_of(self.mask)}
        body = {"key": self.key, "model_id": "sd15", "width": 256, "height": 256, **images, **sent}
        return [name for name in self.post("/api/v6/images/inpaint", body) if name != "model_id"]

    def fooocus(self, **sent: Any) -> list[str]:
        body = {
            "inpaint_input_image": base64_of(self.image),
            "inpaint_mask_image_upload": base64_of(self.mask),
            **sent,
        }
        return self.post("/v1/engine/generate", body)

    def deep_image(self, generate: dict[str, Any] | None = None, **sent: Any) -> list[str]:
        inpainting = {"adapter_type": "inpainting", "ip_image2": f"base64,{base64_of(self.mask)}"}
        background = {"generate": {**inpainting, **(generate or {})}}
        body = {"url": f"base64,{base64_of(self.image)}", "background": background, **sent}
        return self.post("/rest_api/process_result", body)

    def post(self, path: str, body: dict[str, Any]) -> list[str]:
        return self.listed(self.client.post(path, body, content_type="application/json"))

    def listed(self, response: Any) -> list[str]:
        assert response.status_code == 200, response.content
        names = [name for name in response["X-DreamLayer-Ignored"].split(", ") if name]
        if response["Content-Type"] == "application/json":
            assert response.json()["meta"]["ignored"] == names
        return names


@pytest.fixture
def callers(alices_program: Client, alices_key: str, photo_png: bytes, hole: NDArray[Any]) -> Callers:
    return Callers(alices_program, alices_key, photo_png, png(hole))


def test_defaults_that_were_not_sent_are_not_listed(callers: Callers) -> None:
    assert callers.sd_inpaint() == ["prompt"]
    assert callers.modelslab() == []
    assert callers.fooocus() == []
    assert callers.deep_image() == []


def test_values_that_equal_the_default_are_listed_as_others_are(callers: Callers) -> None:
    assert callers.sd_inpaint(num_inference_steps="50", guidance_scale=7.5) == [
        *("prompt", "num_inference_steps", "guidance_scale")
    ]
    for sent in (
        {"guidance_scale": 4.0, "clip_skip": 2, "performance_selection": "Speed", "inpaint_strength": 1.0},
        {"guidance_scale": 5.0, "clip_skip": 3, "performance_selection": "Quality", "inpaint_strength": 0.9},
    ):
        assert set(callers.fooocus(**sent)) == sent.keys()
    assert callers.modelslab(guidance_scale=7.5, strength=0.75) == ["guidance_scale", "strength"]


def test_the_names_are_those_that_the_caller_sent(callers: Callers) -> None:
    assert callers.deep_image({"additional_prompt": "x"}) == [f"{GENERATE}additional_prompt"]
    assert callers.deep_image({"description": "x"}) == [f"{GENERATE}description"]
    assert callers.deep_image(output_format="png", output_quality=40) == ["output_quality"]
    assert callers.deep_image(output_format="jpg", output_quality=40) == []
    assert callers.modelslab(steps=10) == ["steps"]
    assert callers.modelslab(num_inference_steps=10) == ["num_inference_steps"]


def test_of_two_fields_for_one_setting_the_unused_one_is_listed(callers: Callers) -> None:
    assert callers.deep_image(output_format="jpg", quality=50, output_quality=40) == ["output_quality"]
    assert Generation.objects.get().settings["quality"] == 50
    assert set(callers.modelslab(num_inference_steps=10, steps=9)) == {"num_inference_steps", "steps"}


def test_a_side_that_the_result_does_not_reach_is_listed(callers: Callers) -> None:
    assert callers.deep_image(width=200, height=200) == ["height"]
    assert callers.deep_image(width=300, height=64) == ["width"]
    assert callers.deep_image(width=192, height=128) == []
    assert callers.deep_image(width=200, height=200, fit="cover") == ["fit"]
    assert callers.deep_image(width=200, height=200, fit="bounds") == [], "this is what bounds does"


def test_names_that_set_nothing_are_not_stored(callers: Callers) -> None:
    callers.modelslab(**{f"made_up_{number}": "x" for number in range(200)}, prompt="a lawn")
    assert set(Generation.objects.get().sent_fields) == {"model_id", "prompt"}
