"""Environment variables that have another name since version 0.1."""

from __future__ import annotations

from collections.abc import Container

from django.core.exceptions import ImproperlyConfigured

RENAMED = {"DREAMLAYER_PICTURES_SENT_BY": "DREAMLAYER_IMAGES_SENT_BY"}
"""The former name -> the present one."""


def refuse_renamed(environment: Container[str]) -> None:
    """Raise ImproperlyConfigured for a variable under its former name, which would be ignored silently."""
    for former, name in RENAMED.items():
        if former in environment:
            raise ImproperlyConfigured(f"The environment variable {former} is now {name}: rename it.")
