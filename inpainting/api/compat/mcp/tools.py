"""The tools that agents call: their descriptions, and what answers each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from accounts.models import Scope
from accounts.permissions import check_scope
from inpainting.api.analyses import respond_with_caption
from inpainting.api.compat.mcp import answers
from inpainting.api.compat.mcp.arguments import ARGUMENTS, schema_of
from inpainting.api.compat.mcp.call import WAIT_SECONDS, Mcp
from inpainting.api.compat.mcp.translation import NAME, found_mask, read_request, segmenter_for, selection_of
from inpainting.api.compat.mcp.uploads import SECONDS, link_of, upload_address
from inpainting.api.errors import Conflict
from inpainting.api.images import NAMED_IMAGE, SentImage
from inpainting.api.later_response import LaterResponse, respond_later
from inpainting.api.recent_images import read_recent
from inpainting.api.selecting import respond_with_masks
from inpainting.api.views import drop_body, inpaint, render_current
from inpainting.captioning import CaptionStyle
from inpainting.core import masks
from inpainting.core.geometry import Size
from inpainting.generations import history
from inpainting.generations.submit import plan_submission
from inpainting.generations.uploads import store_mask
from inpainting.models import Generation
from inpainting.models.analysis import mask_values
from inpainting.segmenters.base import Candidate

Respond = Callable[[Mcp, Request], HttpResponseBase]
MARKING = "Mark it by words, points, a box, or a mask."
FILES = "You get links to the files and a small preview; where it takes longer, an id for the tool result."
RESULTS = f"The result has the size of the image, and outside of the mask no pixel changes. {FILES}"


@dataclass(frozen=True, slots=True)
class Tool:
    """What an agent knows of a tool, and what responds to a call of it."""

    title: str
    description: str
    respond: Respond
    _: KW_ONLY
    is_read_only: bool = False
    """Whether it makes nothing. What makes something changes nothing that is there."""
    is_destructive: bool = False
    is_open: bool = True
    """Whether it may fetch an image from another server."""

    def describe(self, name: str) -> dict[str, Any]:
        """Return an entry of the list of tools."""
        return {
            "name": name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema_of(name),
            "annotations": {
                "title": self.title,
                "readOnlyHint": self.is_read_only,
                "destructiveHint": self.is_destructive,
                "idempotentHint": self.is_read_only or self.is_destructive,
                "openWorldHint": self.is_open,
            },
        }


def select(call: Mcp, request: Request) -> HttpResponseBase:
    arguments = call.read_arguments(request)
    sent, selection = SentImage("image", arguments["image"]), selection_of(arguments)
    segmenter = segmenter_for(selection, arguments)

    def render(found: Sequence[Candidate]) -> HttpResponseBase:
        mask = found_mask(found[0])
        values = mask_values(found[0], segmenter.name)
        stored = store_mask(request.user, mask, values)
        about = {"mask": link_of(stored, "mask", request), "coverage": round(masks.coverage(mask), 6), **values}
        about |= answers.sides(Size(mask.shape[1], mask.shape[0]))
        return call.result(answers.text(about), answers.link(about["mask"], "mask.png"), answers.mask_preview(mask))

    return respond_with_masks(segmenter, selection, sent, request, render, dialect=call)


def describe(call: Mcp, request: Request) -> HttpResponseBase:
    arguments = call.read_arguments(request)
    read = read_recent(SentImage("image", arguments["image"]), request, NAMED_IMAGE)
    size, file = read.image.size, SimpleUploadedFile("image", read.data)  # A URL is not fetched again.
    return respond_with_caption(
        *(SentImage("image", file), CaptionStyle.PHOTO, request),
        dialect=call,
        render=lambda caption: call.result(
            answers.text({"description": caption.text, "captioner": caption.captioner, **answers.sides(size)})
        ),
    )


def plan(call: Mcp, request: Request) -> HttpResponseBase:
    arguments = call.read_arguments(request)
    tool = arguments["tool"]
    sent = ARGUMENTS[tool].read(arguments["arguments"]).sent()
    inpaint_request, submission = read_request(tool, sent, request)
    planned = plan_submission(inpaint_request, replace(submission, service=NAME))
    about = {
        "engine": planned.engine.name,
        "engine_reason": planned.reason,
        "model": None if "model" in planned.ignored else planned.settings.model,
        **answers.sides(inpaint_request.enlarged_to or planned.request.image.size),
        "coverage": round(masks.coverage(planned.mask), 6),
        "ignored": [name for name in sent if call.settings_by_field.get(name) in planned.ignored],
        "warnings": [*submission.warnings, *planned.warnings],
    }
    return call.result(answers.text(about), answers.mask_preview(np.asarray(planned.mask)))


def upload(call: Mcp, request: Request) -> HttpResponseBase:
    call.read_arguments(request)
    url = upload_address(request)
    command = f"curl -sS -H 'Content-Type: application/octet-stream' --data-binary @FILE '{url}'"
    return call.result(answers.text({"url": url, "command": command, "expires_in_seconds": SECONDS}))


def result(call: Mcp, request: Request) -> HttpResponseBase:
    check_scope(request, Scope.READ)
    generation = own_generation(call, request)
    drop_body(request)
    render = partial(render_current, call, request, generation.pk)
    return respond_later(LaterResponse(generation.pk, WAIT_SECONDS, render), request)


def cancel(call: Mcp, request: Request) -> HttpResponseBase:
    if not own_generation(call, request).cancel():
        raise Conflict("It has ended already.", code="already_ended")
    return call.result(answers.text({"status": "cancelled"}))


def own_generation(call: Mcp, request: Request) -> Generation:
    """Return the user's generation with the id that a tool gave. Raises NotFound, also for those of others."""
    generation = history.find(request.user, call.read_arguments(request)["id"], service=NAME)
    if generation is None:
        raise NotFound("You have nothing with this id.")
    return generation


TOOLS = {
    "erase": Tool(
        "Erase an object",
        f"Removes something from an image and continues what is around it. {MARKING} {RESULTS}",
        inpaint,
    ),
    "fill": Tool(
        "Replace a part of an image",
        f"Repaints a part of an image as the prompt says, which needs an installed model. {MARKING} {RESULTS}",
        inpaint,
    ),
    "extend": Tool(
        "Extend an image",
        "Paints more around an image (outpainting): by pixels for its sides, to a size, or to a ratio. The image "
        f"itself does not change. {FILES}",
        inpaint,
    ),
    "upscale": Tool(
        "Enlarge an image",
        f"Makes an image 1.5 to 4 times larger. {FILES}",
        inpaint,
    ),
    "select": Tool(
        "Select an object",
        "Finds an object by words, points or a box; without these the main object. You get a link to its mask, white "
        "on black, for the argument mask of erase and fill, its box and share of the image, and a preview. Erase and "
        "fill take words, points and a box themselves: select first where you want to see the mask.",
        select,
    ),
    "describe": Tool(
        "Describe an image",
        "Says in words what an image shows, and how large it is.",
        describe,
        is_read_only=True,
    ),
    "plan": Tool(
        "Show what a call would do",
        "Shows which engine and model would do a call of erase, fill, extend or upscale, and what would be repainted "
        "(white in the preview), and why the call would be refused. Nothing is painted or stored.",
        plan,
        is_read_only=True,
    ),
    "upload": Tool(
        "Get a link to upload a file to",
        "Gives a link for a file of yours, and the command that sends it: its answer has the link that is the image of "
        "the other tools. It takes any number of images of any size that the server accepts.",
        upload,
        is_open=False,
    ),
    "result": Tool(
        "Get a result",
        f"Waits for the result of an earlier call, for {WAIT_SECONDS:g} seconds at most.",
        result,
        is_read_only=True,
        is_open=False,
    ),
    "cancel": Tool(
        "Cancel a call",
        "Stops an earlier call of erase, fill, extend or upscale that has not ended, by the id that it gave.",
        cancel,
        is_destructive=True,
        is_open=False,
    ),
}
