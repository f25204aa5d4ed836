"""Find the conditioning images of a request (control_image, ip_adapter_image) that its plan does not read."""

from __future__ import annotations

from collections.abc import Collection

from inpainting.catalog.specs import COMPUTED_CONTROLS, Control
from inpainting.core.errors import InvalidRequest
from inpainting.engines.base import SettingsPlan

EXPECTED_IMAGES = {
    Control.DEPTH: "a depth map",
    Control.SCRIBBLE: "a drawing",
    Control.OPENPOSE: "a skeleton as OpenPose draws it",
    Control.LINEART: "a line drawing, white on black",
    Control.SOFTEDGE: "a picture of soft edges, white on black",
    Control.NORMAL: "a map of surface normals",
    Control.SEGMENT: "a map of segments in the colours of ADE20K",
}
"""The control images that a request must send; those of other controls are taken from the source image."""


def unread_images(plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """The names of the conditioning images that the plan does not read, each with the reason.

    sent: the names of those that the request has.
    Raises InvalidRequest where one is read and was not sent: `control_image_missing`, `ip_adapter_image_missing`.
    """
    uses, adapter, engine = plan.settings.control_uses, plan.settings.ip_adapter, plan.engine.name
    reasons = {}
    if not uses:
        reasons["control_image"] = "the request names no control"
    elif "control" in plan.ignored:
        reasons["control_image"] = f"{engine} paints without a control"
    elif plan.controls and COMPUTED_CONTROLS.issuperset(plan.controls):
        computed = " and ".join(dict.fromkeys(use.slug for use in uses))
        reasons["control_image"] = f"the input of {computed} is computed from the image"
    else:
        check_control_image(plan, sent)
    if adapter is None:
        reasons["ip_adapter_image"] = "the request names no ip_adapter"
    elif "ip_adapter" in plan.ignored:
        reasons["ip_adapter_image"] = f"{engine} paints without an IP-Adapter"
    elif "ip_adapter_image" not in sent:
        raise InvalidRequest(
            f"The IP-Adapter {adapter} needs an image prompt: send it as ip_adapter_image.",
            code="ip_adapter_image_missing",
            field="ip_adapter_image",
        )
    return reasons


def check_control_image(plan: SettingsPlan, sent: Collection[str]) -> None:
    """Check that the ControlNets which need a control image agree about its kind, and that it was sent.

    Raises InvalidRequest: `field_invalid`, `control_image_missing`.
    """
    expected = {
        kind: use
        for use, kind in zip(plan.settings.control_uses, plan.controls, strict=True)
        if kind in EXPECTED_IMAGES
    }
    if len(expected) > 1:
        raise InvalidRequest(
            f"{' and '.join(use.slug for use in expected.values())} need control images of different kinds "
            f"({', '.join(expected)}), and a request has one. Beside one of them use ControlNets whose input is "
            "computed from the image.",
            field="controls",
        )
    for kind, use in expected.items():
        if "control_image" not in sent:
            raise InvalidRequest(
                f"The ControlNet {use.slug} is guided by {EXPECTED_IMAGES[kind]}: send it as control_image.",
                code="control_image_missing",
                field="control_image",
            )
