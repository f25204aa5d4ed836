"""Calls the image API with openai-python, as its users do. Arguments: address, key, folder with the images.

Prints a JSON object: the name of each call -> the files that it wrote, or the error that the library raised.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import APIStatusError, AzureOpenAI, OpenAI

address, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
client = OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)
azure = AzureOpenAI(azure_endpoint=address, api_version="2025-04-01-preview", api_key=key, max_retries=0)
photo, mask, white = (folder / f"{name}.png" for name in ("photo", "alpha", "mask"))


def written(name: str, images: list[str]) -> list[str]:
    for index, image in enumerate(images):
        (folder / f"{name}-{index}").write_bytes(base64.b64decode(image))
    return [f"{name}-{index}" for index in range(len(images))]


def inline(name: str, response: Any) -> list[str]:
    return written(name, [image.b64_json for image in response.data])


def edit(**fields: Any) -> Any:
    sent = {"model": "gpt-image-1", "image": photo.open("rb"), "mask": mask.open("rb"), "prompt": "", **fields}
    return client.images.edit(**{name: value for name, value in sent.items() if value is not None})


def streamed() -> list[str]:
    events = list(edit(stream=True, partial_images=2))
    return written("python_stream", [event.b64_json for event in events if event.type == "image_edit.completed"])


def every_field() -> list[str]:
    response = edit(
        image=[photo.open("rb"), photo.open("rb")],
        background="opaque",
        input_fidelity="high",
        n=2,
        output_format="webp",
        output_compression=90,
        quality="high",
        size="256x256",
        user="u",
    )
    return inline("python_every_field", response)


def azure_edit() -> list[str]:
    response = azure.images.edit(model="gpt-image-1", image=photo.open("rb"), mask=mask.open("rb"), prompt="")
    return inline("python_azure", response)


def linked() -> list[str]:
    return [image.url for image in edit(model="dall-e-2", size="256x256").data]


def variation() -> list[str]:
    return inline("python_variation", client.images.create_variation(image=photo.open("rb"), n=1, size="256x256"))


CALLS: dict[str, Callable[[], Any]] = {
    "python_edit": lambda: inline("python_edit", edit()),
    "python_every_field": every_field,
    "python_links": linked,
    "python_white_mask": lambda: inline("python_white_mask", edit(mask=white.open("rb"))),
    "python_named_polarity": lambda: inline(
        "python_named_polarity", edit(mask=white.open("rb"), extra_body={"mask_polarity": "white_repaints"})
    ),
    "python_by_words": lambda: inline("python_by_words", edit(mask=None, prompt="a red ball")),
    "python_stream": streamed,
    "python_azure": azure_edit,
    "python_generate": lambda: inline(
        "python_generate",
        client.images.generate(
            model="gpt-image-1",
            prompt="a cat",
            background="transparent",
            moderation="low",
            output_compression=80,
            output_format="webp",
            quality="auto",
            size="auto",
        ),
    ),
    "python_variation": variation,
    "python_models": lambda: [model.id for model in client.models.list()],
    "python_model": lambda: [client.models.retrieve("gpt-image-1").id],
    "python_unknown_model": lambda: [client.models.retrieve("no-such-model").id],
    "python_wrong_key": lambda: [model.id for model in client.with_options(api_key="wrong").models.list()],
}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except APIStatusError as error:
        about = {name: getattr(error, name) for name in ("code", "param", "type", "request_id")}
        return {"status": error.status_code, **about, "class": type(error).__name__, "message": error.message}


print(json.dumps({name: outcome(call) for name, call in CALLS.items()}))
