"""What holds of the safety checker for one request."""

from __future__ import annotations

from dataclasses import replace

from inpainting.core.request import PaintSettings

OFF = "off"
UNAVAILABLE = "safety_checker_unavailable"
"""The code of every error that says that it is to look and cannot."""
USUAL_TYPE = "sensitive_content_text"
"""Where somebody turns it on and says no more."""
STRICTNESS = {"blur": 1, "pixelate": 2, "black": 3, "sensitive_content_text": 3}
"""How little of the picture is left: soft colours and shapes, a few squares of colour, nothing."""
STAYS_ON = "The safety checker stays on: whoever runs this site has turned it on for everybody."


def settled(settings: PaintSettings, instance: str) -> tuple[PaintSettings, tuple[str, ...]]:
    """The settings with what holds in the end, and warnings where that is stricter than asked.

    instance: OFF or the type that holds for everybody here. A request may turn the checker on or choose a type that
    leaves less; never off, and never a type that leaves more. `safety_checker_type` is None where it is off.
    """
    asked = settings.safety_checker_type
    if instance == OFF:
        if settings.safety_checker:
            return replace(settings, safety_checker_type=asked or USUAL_TYPE), ()
        unread = ("safety_checker_type changes nothing while the safety checker is off.",) if asked else ()
        return replace(settings, safety_checker_type=None), unread
    warnings = [STAYS_ON] if settings.safety_checker is False else []
    chosen = asked or instance
    if STRICTNESS[chosen] < STRICTNESS[instance]:
        warnings.append(f"The safety_checker_type “{chosen}” hides less than this site wants; “{instance}” is used.")
        chosen = instance
    return replace(settings, safety_checker=True, safety_checker_type=chosen), tuple(warnings)
