"""Find the conditioning images of a request (control_image, ip_adapter_image) that its plan does not read."""

from __future__ import annotations

from collections.abc import Collection

from inpainting.catalog.specs import COMPUTED_CONTROLS, Control
from inpainting.core.errors import InvalidRequest
from inpainting.engines.base import SettingsPlan

OPTIONAL = COMPUTED_CONTROLS | {Control.TILE}
"""Controls that are taken from the source image where no control_image is sent."""
EXPECTED_IMAGES = {Control.DEPTH: "a depth map", Control.SCRIBBLE: "a drawing"}


def unread_images(plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """The names of the conditioning images that the plan does not read, each with the reason.

    sent: the names of those that the request has.
    Raises InvalidRequest where one is read and was not sent: `control_image_missing`, `ip_adapter_image_missing`.
    """
    reasons = {
        "control_image": why_control_image_is_unread(plan, is_sent="control_image" in sent),
        "ip_adapter_image": why_ip_adapter_image_is_unread(plan, is_sent="ip_adapter_image" in sent),
    }
    return {name: why for name, why in reasons.items() if why}


def why_control_image_is_unread(plan: SettingsPlan, *, is_sent: bool) -> str:
    """The reason as a clause; "" if the image is read. Raises InvalidRequest, `control_image_missing`."""
    control = plan.settings.control
    if control is None:
        return "the request names no control"
    if "control" in plan.ignored:
        return f"{plan.engine.name} paints without a control"
    if plan.control in COMPUTED_CONTROLS:
        return f"the input of {control} is computed from the image"
    if plan.control is not None and plan.control not in OPTIONAL and not is_sent:
        raise InvalidRequest(
            f"The ControlNet {control} is guided by {EXPECTED_IMAGES[plan.control]}: send it as control_image.",
            code="control_image_missing",
            field="control_image",
        )
    return ""


def why_ip_adapter_image_is_unread(plan: SettingsPlan, *, is_sent: bool) -> str:
    """The reason as a clause; "" if the image is read. Raises InvalidRequest, `ip_adapter_image_missing`."""
    adapter = plan.settings.ip_adapter
    if adapter is None:
        return "the request names no ip_adapter"
    if "ip_adapter" in plan.ignored:
        return f"{plan.engine.name} paints without an IP-Adapter"
    if not is_sent:
        raise InvalidRequest(
            f"The IP-Adapter {adapter} needs an image prompt: send it as ip_adapter_image.",
            code="ip_adapter_image_missing",
            field="ip_adapter_image",
        )
    return ""
