"""One client of each service: `paint` sends a request with an Idempotency-Key and returns the bytes of the result."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import requests
from PIL import Image

from tests import picture_host
from tests.installation import Installation

PATIENCE_SECONDS = 120
MASK = picture_host.encoded(picture_host.mask())
MASK_TEXT = base64.b64encode(MASK).decode()


class ServiceClient:
    """A program with an API key that repeats its requests, with the same Idempotency-Key, until it has an answer."""

    def __init__(self, site: Installation, key: str, idempotency_key: str, photo: Image.Image | None = None) -> None:
        self.site, self.key = site, key
        self.headers = {"X-API-Key": key, "Idempotency-Key": idempotency_key}
        self.photo = picture_host.encoded(photo or picture_host.photo())
        self.photo_text = base64.b64encode(self.photo).decode()
        self.deadline = time.monotonic() + PATIENCE_SECONDS

    def call(self, method: str, path: str, *, is_done: Callable[[Any], bool] = lambda answer: True, **sent: Any) -> Any:
        """Repeat a request until its answer is 200 and `is_done`. Repeats after lost connections, 409, 429 and 503."""
        while True:
            try:
                url = path if path.startswith("http") else self.site.url + path
                answer = requests.request(method, url, headers=self.headers, timeout=60, **sent)
                assert answer.status_code in (200, 404, 409, 429, 503), f"{path}: {answer.status_code} {answer.text}"
                if answer.status_code == 200 and is_done(answer):
                    return answer
            except requests.ConnectionError:
                pass
            assert time.monotonic() < self.deadline, f"{path}: it was never answered"
            time.sleep(0.2)

    def native(self) -> bytes:
        files = {"image": ("a.png", self.photo, "image/png"), "mask": ("b.png", MASK, "image/png")}
        data = {"prompt": "", "mask_polarity": "white_repaints"}
        answer = self.call("POST", "/api/img2img", files=files, data=data)
        return bytes(self.call("GET", answer.json()["images"][0]).content)

    def sd_inpaint(self) -> bytes:
        files = {"image": self.photo, "mask": MASK}
        return bytes(self.call("POST", "/sd-inpaint/inpaint", files=files, data={"prompt": "a rose"}).content)

    def modelslab(self) -> bytes:
        body = {
            "key": self.key,
            "model_id": "lazymixv4-inpaint",
            "width": picture_host.SIZE[0],
            "height": picture_host.SIZE[1],
        }
        pictures = {"init_image": f"data:image/png;base64,{self.photo_text}", "mask_image": MASK_TEXT}
        answer = self.call("POST", "/api/v6/images/inpaint", json={**body, **pictures}).json()
        if answer["status"] == "processing":
            answer = self.call(
                *("POST", answer["fetch_result"]),
                json={"key": self.key},
                is_done=lambda fetched: fetched.json()["status"] != "processing",
            ).json()
        assert answer["status"] == "success", answer
        return bytes(self.call("GET", answer["output"][0]).content)

    def fooocus(self) -> bytes:
        pictures = {"inpaint_input_image": self.photo_text, "inpaint_mask_image_upload": MASK_TEXT}
        task = self.call("POST", "/v1/engine/generate", json={**pictures, "async_process": True}).json()["task_id"]
        ended = self.call("GET", f"/tasks/{task}", is_done=lambda found: found.json()["task_status"] == "finished")
        return bytes(self.call("GET", ended.json()["result"][0]).content)

    def deep_image(self) -> bytes:
        generate = {"adapter_type": "inpainting", "ip_image2": f"base64,{MASK_TEXT}"}
        body = {"url": f"base64,{self.photo_text}", "background": {"generate": generate}, "output_format": "png"}
        job = self.call("POST", "/rest_api/process", json=body).json()["job"]
        ended = self.call("GET", f"/rest_api/result/{job}", is_done=lambda found: found.json()["status"] == "complete")
        return bytes(self.call("GET", ended.json()["result_url"]).content)


CLIENTS: dict[str, Callable[[ServiceClient], bytes]] = {
    "native": ServiceClient.native,
    "sd-inpaint": ServiceClient.sd_inpaint,
    "modelslab": ServiceClient.modelslab,
    "fooocus": ServiceClient.fooocus,
    "deep-image": ServiceClient.deep_image,
}
"""By the names of the dialects."""
