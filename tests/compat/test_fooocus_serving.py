"""Clients of FooocusAPI against a running server: they read a stream, leave it early, or poll their task."""

from __future__ import annotations

import base64
import json
import time
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from tests.support import image_host
from tests.support.installation import Installation

PATIENCE_SECONDS = 120


@pytest.fixture
def body() -> dict[str, Any]:
    return {
        "prompt": "a wooden bench",
        "inpaint_input_image": base64.b64encode(image_host.encoded(image_host.photo())).decode(),
        "inpaint_mask_image_upload": base64.b64encode(image_host.encoded(image_host.mask())).decode(),
    }


def post(site: Installation, body: dict[str, Any], **options: Any) -> requests.Response:
    return requests.post(f"{site.url}/v1/engine/generate", json=body, timeout=PATIENCE_SECONDS, **options)


def finished_task(site: Installation, task_id: str) -> dict[str, Any]:
    """Poll the task until it is finished, as the serverless worker does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        task: dict[str, Any] = requests.get(f"{site.url}/tasks/{task_id}", timeout=PATIENCE_SECONDS).json()
        if task["task_status"] == "finished":
            return task
        assert time.monotonic() < deadline, task
        time.sleep(0.1)


def test_a_client_reads_the_stream_line_by_line(open_site: Installation, body: dict[str, Any]) -> None:
    response = post(open_site, {**body, "stream_output": True}, stream=True)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream")
    assert response.headers["Transfer-Encoding"] == "chunked"
    events = []
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        try:
            events.append(json.loads(line[6:]))
        except ValueError:
            continue
    assert events[0]["images"] == []
    last = events[-1]
    assert (last["progress"], last["message"]) == (100, "Finished")
    (url,) = last["images"]
    assert url.startswith(f"{open_site.url}/outputs/")
    with Image.open(BytesIO(requests.get(url, timeout=60).content)) as image:
        kept = np.asarray(image_host.mask()) == 0
        assert np.array_equal(np.asarray(image)[kept], np.asarray(image_host.photo())[kept])


def test_a_client_that_leaves_the_stream_can_poll_the_task(open_site: Installation, body: dict[str, Any]) -> None:
    response = post(open_site, {**body, "stream_output": True, "save_name": "left"}, stream=True)
    next(response.iter_lines())
    response.close()

    def own_task() -> dict[str, Any] | None:
        tasks = requests.get(f"{open_site.url}/tasks?query=history", timeout=60).json()["history"]
        return next((task for task in tasks if task["req_params"]["save_name"] == "left"), None)

    open_site.wait_until(own_task)
    task = own_task()
    assert task is not None
    assert (task["task_status"], len(task["result"])) == ("finished", 1)


def test_a_client_polls_its_task(open_site: Installation, body: dict[str, Any]) -> None:
    pending = post(open_site, {**body, "async_process": True}).json()
    assert (pending["task_status"], pending["result"]) == ("pending", [])
    task = finished_task(open_site, pending["task_id"])
    assert requests.get(task["result"][0], timeout=60).headers["Content-Type"] == "image/png"


def test_a_client_receives_the_image_itself(open_site: Installation, body: dict[str, Any]) -> None:
    response = post(open_site, body, headers={"Accept": "image/jpg"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/jpg")
    assert response.headers["X-DreamLayer-Engine"] == "quick-fill"
    with Image.open(BytesIO(response.content)) as image:
        assert (image.format, image.size) == ("JPEG", image_host.SIZE)


def test_a_json_text_without_a_content_type_is_read(open_site: Installation, body: dict[str, Any]) -> None:
    response = requests.post(f"{open_site.url}/v1/engine/generate/", data=json.dumps(body), timeout=PATIENCE_SECONDS)
    assert response.json()["task_status"] == "finished"
