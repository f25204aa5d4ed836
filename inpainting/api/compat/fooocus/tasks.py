"""Generations as the task objects of FooocusAPI, and the links in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inpainting.api.compat.base64_images import preview_as_png
from inpainting.api.compat.control import CONTROL
from inpainting.api.compat.fooocus.body import IMAGES, GenerateBody
from inpainting.api.media.links import InputImage, image_link, result_link
from inpainting.media.archives import safe_stem
from inpainting.models import Generation, Status
from inpainting.realtime.events import last_preview

STATES = {
    Status.QUEUED: None,
    Status.RUNNING: "running",
    Status.SUCCEEDED: "finished",
    Status.FAILED: "finished",  # with an empty result, as in the service
    Status.CANCELLED: "stop",
}
UNKNOWN = -1
"""Stands for numbers that a task does not have yet."""


def task(generation: Generation, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a generation in any state.

    meta: our own field beside those of the service.
    """
    common = {
        "id": UNKNOWN if generation.number is None else generation.number,
        "task_id": generation.pk.hex,
        "req_params": request_parameters(generation),
        "in_queue_mills": milliseconds(generation.created_at),
        "start_mills": milliseconds(generation.started_at),
        "finish_mills": milliseconds(generation.finished_at),
        "task_status": task_status(generation),
        "webhook_url": generation.service_data["request"].get("webhook_url") or "",
        "meta": meta,
    }
    if generation.has_ended:
        return {**common, "progress": 100, "result": output_links(generation)}
    if generation.status == Status.RUNNING:
        progress = 100 * generation.step // max(generation.steps, 1)
        preview = last_preview(generation.pk)
        shown = "" if preview is None else preview_as_png(preview)
        return {**common, "finish_mills": UNKNOWN, "progress": progress, "preview": shown, "result": []}
    return {**common, "in_queue_mills": None, "progress": None, "result": None}


def pending_task(generation: Generation, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a request with `async_process`."""
    return {
        "id": UNKNOWN,
        "task_id": generation.pk.hex,
        "req_params": {},
        **dict.fromkeys(("in_queue_mills", "start_mills", "finish_mills"), UNKNOWN),
        "task_status": "pending",
        "progress": UNKNOWN,
        "preview": "",
        "webhook_url": "",
        "result": [],
        "meta": meta,
    }


def task_status(generation: Generation) -> str | None:
    if generation.status == Status.CANCELLED and CONTROL in generation.service_data:
        return str(generation.service_data[CONTROL])
    return STATES[Status(generation.status)]


def milliseconds(time: datetime | None) -> int | None:
    """Return a time in milliseconds since 1970."""
    return None if time is None else int(time.timestamp() * 1000)


def request_parameters(generation: Generation) -> dict[str, Any]:
    """Return the request with all defaults, the seed that was used, and links in place of its images.

    An outpainted image has no link: what is stored of it is the larger canvas.
    """
    data = generation.service_data
    parameters = GenerateBody.model_validate(data["request"]).model_dump(mode="json")
    parameters |= {**dict.fromkeys(IMAGES, ""), "controlnet_image": []}
    if data["inpaints"]:
        links: dict[str, InputImage] = {
            "inpaint_input_image": generation.source,
            "inpaint_mask_image_upload": generation.mask,
        }
        for name, image in links.items():
            file = f"{image.sha256}.png"
            parameters[name] = image_link("inputs", file, image, origin=data["origin"], key=data["key"])
    return {**parameters, "image_seed": generation.settings["seed"]}


def output_links(generation: Generation) -> list[str]:
    """Return signed links to the results, which need no key and expire."""
    data, request = generation.service_data, generation.service_data["request"]
    time = generation.finished_at or generation.created_at
    extension = request.get("output_format", "png")
    links = []
    for image in generation.images.all():
        number = f"{((generation.number or 0) + image.index) % 10_000:04}"
        stem = safe_stem(request.get("save_name", ""))
        name = f"{stem}-{image.index + 1}" if stem else f"{time:%Y-%m-%d_%H-%M-%S}_{number}"
        folder, file = f"outputs/{time:%Y-%m-%d}", f"{name}.{extension}"
        links.append(result_link(folder, file, generation, image.index, origin=data["origin"], key=data["key"]))
    return links
