"""Models in OpenVINO on a processor: converted once, compiled for a size, trusted when torch has agreed."""

from __future__ import annotations

from importlib.util import find_spec


def is_installed() -> bool:
    """Imports nothing."""
    return find_spec("openvino") is not None
