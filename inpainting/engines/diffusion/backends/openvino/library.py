"""The one door to OpenVINO: what it reports home is shut out before it is imported."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

# Without this package OpenVINO has a stand-in that does nothing; with it, importing and converting are reported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402 - after the line above, which it must find
from openvino.preprocess import PrePostProcessor  # noqa: E402 - as above

__all__ = ["PrePostProcessor", "core", "ov", "version"]


@cache
def core() -> Any:
    return ov.Core()


@cache
def has_bfloat16() -> bool:
    """Whether it computes in bfloat16 on this processor, and faster for it."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def version() -> str:
    """What conversions belong to: another release may write and read other files."""
    return str(ov.get_version())
