"""The shipped models whose published weights the tests have run. Of the others they run a small stand-in network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from inpainting.catalog.shipped import SHIPPED, SHIPPED_ADAPTERS
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS


@dataclass(frozen=True, slots=True)
class WeightsRun:
    """A test that passed with published weights. day: when it last did. test: its file, from the repository's root."""

    day: date
    test: str


OF_SALIENT_OBJECTS = WeightsRun(date(2026, 11, 24), "tests/weights/test_salient_objects.py")
OF_NCNN = WeightsRun(date(2026, 11, 29), "tests/weights/test_upscalers.py")
WEIGHTS_RUNS = {
    "migan": WeightsRun(date(2026, 11, 24), "tests/weights/test_migan.py"),
    "u2net": OF_SALIENT_OBJECTS,
    "u2netp": OF_SALIENT_OBJECTS,
    "u2net_cloth_seg": OF_SALIENT_OBJECTS,
    "isnet-general-use": OF_SALIENT_OBJECTS,
    "realesrgan-x4plus": OF_NCNN,
    "realesrgan-x4plus-anime": OF_NCNN,
}
"""By slug. A model of the same network with other weights has its own."""

UNTRIED = frozenset(spec.slug for spec in (*SHIPPED, *SHIPPED_ADAPTERS, *SHIPPED_TOOLS)) - WEIGHTS_RUNS.keys()
"""Slugs of the shipped models of which only a stand-in has run."""
