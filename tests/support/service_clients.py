"""Clients of the native API and of every compatible service: they post an image, poll, and download the result.

A request that finds the server down is repeated with the same Idempotency-Key.
"""

from __future__ import annotations

import base64
import colorsys
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import requests

from inpainting.core.codecs import decode_image
from tests.conftest import png

SIDE = 256
POLL_SECONDS = 0.3
GIVE_UP_SECONDS = 240.0


def white_mask() -> Any:
    """[SIDE, SIDE] with a white disc: white is repainted."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (SIDE // 2, SIDE // 2), 20, 255, -1)
    return mask


@dataclass(frozen=True)
class Caller:
    """A program with an image in a colour of its own, by which its result is recognised."""

    site: str
    api_key: str
    number: int
    run: str = uuid4().hex

    @property
    def colour(self) -> tuple[int, int, int]:
        red, green, blue = colorsys.hsv_to_rgb(self.number * 0.618 % 1, 0.6, 0.8)
        return round(255 * red), round(255 * green), (round(255 * blue) + self.number) % 256

    @property
    def photo(self) -> bytes:
        return png(np.full((SIDE, SIDE, 3), self.colour, np.uint8))

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> requests.Response:
        """Send a request until it is answered. Raises AssertionError for an error, and after GIVE_UP_SECONDS."""
        url, sent = path, {"X-API-Key": self.api_key, **(headers or {})}
        if not path.startswith("http"):  # the links of an answer are absolute
            url = f"{self.site}{path}"
            sent["Idempotency-Key"] = f"{self.run}-{self.number}"
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = requests.request(method, url, headers=sent, timeout=GIVE_UP_SECONDS, **body)
            except requests.RequestException:
                time.sleep(POLL_SECONDS)
                continue
            if answer.status_code != 503:
                assert answer.status_code < 300, f"{url}: {answer.status_code} {answer.text[:300]}"
                return answer
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{url} was not answered")

    def has_own_result(self, data: bytes) -> bool:
        """Whether the image is this caller's outside the mask."""
        pixels = decode_image(data).image.pixels
        own = np.all(pixels == self.colour, axis=2)
        mask = white_mask()
        return pixels.shape == (SIDE, SIDE, 3) and bool(own[mask == 0].all())


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def native(caller: Caller, *, polls: bool) -> bytes:
    body = {"input_image": base64_of(caller.photo), "mask": base64_of(png(255 - white_mask())), "prompt": "a lawn"}
    headers = {"Prefer": "respond-async"} if polls else {}
    found = caller.send("POST", "/api/img2img", json=body, headers=headers).json()
    pk = found["id"]
    while caller.send("GET", f"/api/generations/{pk}/").json()["status"] != "succeeded":
        time.sleep(POLL_SECONDS)
    return caller.send("GET", f"/api/generations/{pk}/images/0/").content


def sd_inpaint(caller: Caller) -> bytes:
    files = {"image": ("a.png", caller.photo, "image/png"), "mask": ("m.png", png(white_mask()), "image/png")}
    return caller.send("POST", "/sd-inpaint/inpaint", files=files, data={"prompt": "a lawn"}).content


def modelslab(caller: Caller) -> bytes:
    body = {
        **{"key": caller.api_key, "model_id": "lazymixv4-inpaint", "prompt": "a lawn", "width": SIDE, "height": SIDE},
        **{"init_image": base64_of(caller.photo), "mask_image": base64_of(png(white_mask()))},
    }
    found = caller.send("POST", "/api/v6/images/inpaint", json=body).json()
    while found["status"] == "processing":
        time.sleep(POLL_SECONDS)
        found = caller.send("POST", found["fetch_result"], json={"key": caller.api_key}).json()
    return caller.send("GET", found["output"][0]).content


def fooocus(caller: Caller, *, polls: bool) -> bytes:
    body = {
        **{"inpaint_input_image": base64_of(caller.photo), "prompt": "a lawn", "async_process": polls},
        **{"inpaint_mask_image_upload": base64_of(png(white_mask()))},
    }
    task = caller.send("POST", "/v1/engine/generate", json=body).json()
    while task["task_status"] != "finished":
        time.sleep(POLL_SECONDS)
        task = caller.send("GET", f"/tasks/{task['task_id']}").json()
    return caller.send("GET", task["result"][0]).content


def deep_image(caller: Caller, *, polls: bool) -> bytes:
    generate = {"adapter_type": "inpainting", "ip_image2": f"base64,{base64_of(png(white_mask()))}"}
    parameters = json.dumps({"background": {"generate": {**generate, "description": "a lawn"}}})
    files = {"image": ("a.png", caller.photo, "image/png")}
    route = "process" if polls else "process_result"
    found = caller.send("POST", f"/rest_api/{route}", files=files, data={"parameters": parameters}).json()
    while found["status"] == "in_progress":
        time.sleep(POLL_SECONDS)
        found = caller.send("GET", f"/rest_api/result/{found['job']}").json()
    return caller.send("GET", found["result_url"]).content


def openai(caller: Caller, *, form: str) -> bytes:
    """form: `url` or `b64_json`."""
    files = {"image[]": ("a.png", caller.photo, "image/png"), "mask": ("m.png", png(white_mask()), "image/png")}
    fields = {"model": "dall-e-2", "prompt": "a lawn", "mask_polarity": "white_repaints", "response_format": form}
    (found,) = caller.send("POST", "/v1/images/edits", files=files, data=fields).json()["data"]
    return caller.send("GET", found["url"]).content if form == "url" else base64.b64decode(found["b64_json"])


def huggingface(caller: Caller) -> bytes:
    parameters = {"prompt": "a lawn", "mask_image": base64_of(png(white_mask()))}
    body = {"inputs": base64_of(caller.photo), "parameters": parameters}
    return caller.send("POST", "/hf/auto", json=body).content


def iopaint(caller: Caller) -> bytes:
    body = {"image": base64_of(caller.photo), "mask": base64_of(png(white_mask()))}
    return caller.send("POST", "/api/v1/inpaint", json=body).content


def automatic1111(caller: Caller) -> bytes:
    body = {"init_images": [base64_of(caller.photo)], "mask": base64_of(png(white_mask())), "prompt": "a lawn"}
    return base64.b64decode(caller.send("POST", "/sdapi/v1/img2img", json=body).json()["images"][0])


def mcp(caller: Caller, *, stateless: bool) -> bytes:
    """stateless: whether the call is in the revision without a handshake."""
    arguments = {"image": base64_of(caller.photo), "mask": base64_of(png(white_mask())), "prompt": "a lawn"}
    params: dict[str, Any] = {"name": "fill", "arguments": arguments}
    headers = {"MCP-Protocol-Version": "2025-11-25"}
    if stateless:
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "fill"}
        known = {"protocolVersion": "2026-07-28", "clientCapabilities": {}}
        params["_meta"] = {f"io.modelcontextprotocol/{name}": value for name, value in known.items()}
    while True:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        result = caller.send("POST", "/mcp", json=body, headers=headers).json()["result"]
        assert not result["isError"], result
        about = json.loads(result["content"][0]["text"])
        if about["status"] == "succeeded":
            return caller.send("GET", about["images"][0]).content
        params |= {"name": "result", "arguments": {"id": about["id"]}}
        headers |= {"Mcp-Name": "result"} if stateless else {}


CALLS: dict[str, Callable[[Caller], bytes]] = {
    "native": lambda caller: native(caller, polls=False),
    "native, polling": lambda caller: native(caller, polls=True),
    "sd-inpaint": sd_inpaint,
    "modelslab": modelslab,
    "fooocus": lambda caller: fooocus(caller, polls=False),
    "fooocus, polling": lambda caller: fooocus(caller, polls=True),
    "deep-image": lambda caller: deep_image(caller, polls=False),
    "deep-image, polling": lambda caller: deep_image(caller, polls=True),
    "openai": lambda caller: openai(caller, form="b64_json"),
    "openai, link": lambda caller: openai(caller, form="url"),
    "huggingface": huggingface,
    "iopaint": iopaint,
    "automatic1111": automatic1111,
    "mcp": lambda caller: mcp(caller, stateless=True),
    "mcp, earlier": lambda caller: mcp(caller, stateless=False),
}
"""Each calls a service and returns the bytes of the result."""
