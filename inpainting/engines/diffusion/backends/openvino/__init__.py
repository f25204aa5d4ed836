"""OpenVINO on the CPU: a model is converted once, compiled for an image size, and verified against torch."""

from __future__ import annotations

from importlib.util import find_spec


def is_installed() -> bool:
    """Whether the package is installed. Imports nothing."""
    return find_spec("openvino") is not None
