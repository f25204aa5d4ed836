"""Resolves a request's safety checker settings against the site's setting."""

from __future__ import annotations

from dataclasses import replace

from inpainting.core.request import PaintSettings
from inpainting.core.sentences import sentence

OFF = "off"
UNAVAILABLE = "safety_checker_unavailable"
"""The code of every error for a safety checker that is on and cannot run."""
DEFAULT_TYPE = "sensitive_content_text"
"""The type for a request that turns the checker on without naming one."""
STRICTNESS = {"blur": 1, "pixelate": 2, "black": 3, "sensitive_content_text": 3}
"""Safety type -> how much of the image it hides: details, shapes, everything."""
STAYS_ON = sentence("The safety checker stays on: this site's administrator has turned it on for all requests.")


def resolve(settings: PaintSettings, site: str) -> tuple[PaintSettings, tuple[str, ...]]:
    """Return the settings that apply, and a warning for each request that the site overrides.

    site: OFF, or the type that is on for all requests. A request may turn the checker on or choose a type that leaves
        less of the image; never turn it off, and never a type that leaves more. `safety_checker_type` is None where it
        is off.
    """
    requested = settings.safety_checker_type
    if site == OFF:
        if settings.safety_checker:
            return replace(settings, safety_checker_type=requested or DEFAULT_TYPE), ()
        idle = (sentence("safety_checker_type changes nothing while the safety checker is off."),) if requested else ()
        return replace(settings, safety_checker_type=None), idle
    warnings = [STAYS_ON] if settings.safety_checker is False else []
    chosen = requested or site
    if STRICTNESS[chosen] < STRICTNESS[site]:
        warnings.append(
            sentence(
                "The safety_checker_type “{chosen}” hides less than this site requires; “{site}” is used.",
                chosen=chosen,
                site=site,
            )
        )
        chosen = site
    return replace(settings, safety_checker=True, safety_checker_type=chosen), tuple(warnings)
