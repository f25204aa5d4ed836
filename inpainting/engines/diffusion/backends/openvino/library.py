"""The only import of OpenVINO, with its telemetry disabled."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

# Without this package OpenVINO uses a stub that does nothing; with it, imports and conversions are reported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402 - after the line above, which it depends on
from openvino.preprocess import PrePostProcessor  # noqa: E402 - as above

__all__ = ["PrePostProcessor", "core", "ov", "version"]


@cache
def core() -> Any:
    return ov.Core()


@cache
def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 natively."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def version() -> str:
    """The release that converted files belong to: another one may read and write other files."""
    return str(ov.get_version())
