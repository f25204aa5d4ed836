"""Which of a request's further pictures its engine reads, and which it misses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inpainting.catalog.specs import COMPUTED_CONTROLS, Control
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Engine

NEEDS_NONE = COMPUTED_CONTROLS | {Control.TILE}
"""Controls that are led by the picture itself where nothing else is sent."""
WANTED = {Control.DEPTH: "a depth map", Control.SCRIBBLE: "a drawing"}


def checked_references(request: InpaintRequest, engine: Engine) -> tuple[InpaintRequest, tuple[str, ...]]:
    """The request with those pictures alone that are read, and warnings about the others.

    Its settings are settled. Surfaces ask before they accept, `painting.paint` before it paints.
    Raises InvalidRequest: `control_image_missing`, `ip_adapter_image_missing`.
    """
    notes = []
    for name, why_unread in (
        ("control_image", why_control_is_unread),
        ("ip_adapter_image", why_ip_adapter_is_unread),
    ):
        why = why_unread(request, engine)
        if why and getattr(request, name) is not None:
            notes.append(f"{name} was not read: {why}.")
            without: dict[str, Any] = {name: None}
            request = replace(request, **without)
    return request, tuple(notes)


def why_control_is_unread(request: InpaintRequest, engine: Engine) -> str:
    """Nothing where it is read. Raises InvalidRequest where it would have to be and is not there."""
    control = request.settings.control
    if control is None:
        return "no control was asked for"
    if "control" in engine.ignored(request.settings):
        return f"{engine.name} paints without a control"
    guide = engine.looks_at(request.settings)
    if guide in COMPUTED_CONTROLS:
        return f"what {control} is guided by is computed from the image"
    if guide is not None and guide not in NEEDS_NONE and request.control_image is None:
        raise InvalidRequest(
            f"The ControlNet {control} is guided by {WANTED[guide]}: send it as control_image.",
            code="control_image_missing",
            field="control_image",
        )
    return ""


def why_ip_adapter_is_unread(request: InpaintRequest, engine: Engine) -> str:
    """Nothing where it is read. Raises InvalidRequest where it would have to be and is not there."""
    adapter = request.settings.ip_adapter
    if adapter is None:
        return "no ip_adapter was asked for"
    if "ip_adapter" in engine.ignored(request.settings):
        return f"{engine.name} paints without an IP-Adapter"
    if request.ip_adapter_image is None:
        raise InvalidRequest(
            f"The IP-Adapter {adapter} needs a picture to look at: send it as ip_adapter_image.",
            code="ip_adapter_image_missing",
            field="ip_adapter_image",
        )
    return ""
