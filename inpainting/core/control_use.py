"""One of the ControlNets of a request, and its agreement with the settings of the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inpainting.core.errors import InvalidRequest
from inpainting.core.validation import check_range, check_text

MAX_CONTROLS = 4
MAX_NAME_CHARACTERS = 200
CONTROL_STRENGTHS = (0.0, 2.0)
"""The lowest and the highest scale of a ControlNet's output."""
CONTROL_TYPES = (
    *("inpaint", "canny", "depth", "scribble", "tile", "openpose", "lineart", "softedge", "normal", "segment"),
)
"""Kinds of control images."""
FIRST_CONTROL = {
    "control": "slug",
    "control_strength": "strength",
    "control_start": "start",
    "control_end": "end",
    "control_type": "type",
}
"""Settings of the first ControlNet -> the field of `ControlUse`."""


@dataclass(frozen=True, slots=True)
class ControlUse:
    """A ControlNet of a request.

    slug: in the catalog, or an alias. start, end: the shares of the steps between which it is applied, 0 to 1.
    type: of a ControlNet-Union, the kind of its control image; None leaves the choice to the ControlNet.
    Raises InvalidRequest for an unknown type or a number out of range.
    """

    slug: str
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    type: str | None = None

    def __post_init__(self) -> None:
        check_text("controls", self.slug, MAX_NAME_CHARACTERS)
        check_range("strength", self.strength, *CONTROL_STRENGTHS, field="controls")
        check_range("start", self.start, 0.0, 1.0, field="controls")
        check_range("end", self.end, 0.0, 1.0, field="controls")
        if self.start > self.end:
            raise InvalidRequest(
                f"The ControlNet {self.slug} starts at {self.start:g}, after its end, {self.end:g}.", field="controls"
            )
        if self.type is not None and self.type not in CONTROL_TYPES:
            raise InvalidRequest(
                f"There is no type of that name; there are: {', '.join(CONTROL_TYPES)}.", field="controls"
            )


def first_control(settings: Any) -> ControlUse | None:
    """Return the ControlNet that the settings `control`, `control_strength` and so on describe; None without one."""
    if settings.control is None:
        return None
    values = {name: getattr(settings, setting) for setting, name in FIRST_CONTROL.items()}
    return ControlUse(**{name: value for name, value in values.items() if value is not None})


def first_control_settings(controls: Sequence[ControlUse]) -> dict[str, Any]:
    """Return the settings of the first ControlNet, as its entry of `controls` has them."""
    return {setting: getattr(use, name) for use in controls[:1] for setting, name in FIRST_CONTROL.items()}


def check_first_control(controls: Sequence[ControlUse], settings: Any) -> None:
    """Raise InvalidRequest where the settings of the first ControlNet contradict the first entry of `controls`."""
    for setting, name in FIRST_CONTROL.items():
        value, listed = getattr(settings, setting), getattr(controls[0], name)
        if value is not None and value != listed:
            raise InvalidRequest(
                f"{setting} is {value}, and the first entry of controls has {listed} as its {name}. "
                "Send the first ControlNet in one of the two ways.",
                field=setting,
            )
