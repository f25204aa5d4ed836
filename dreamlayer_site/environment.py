"""The environment variables of the settings, of which secrets may also be in files, as containers get them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured


class Environment(environ.Env):  # type: ignore[misc]  # django-environ's classes are untyped
    """django-environ's reader, with secrets."""

    def secret(self, name: str, default: str = "") -> str:
        """Return the value of a variable that may be in a file: `read_secret`, else the default."""
        return read_secret(name) or default


def read_secret(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the value of a variable, or the content of the file that the variable `NAME_FILE` names; "" without both.

    White space around the content is no part of it. Raises ImproperlyConfigured if both are set, or if the file cannot
    be read or is empty. No message contains the content.
    """
    value, file = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if not file:
        return value
    if value:
        raise ImproperlyConfigured(f"Both {name} and {name}_FILE are set: remove one of them.")
    try:
        value = Path(file).read_text("utf-8").strip()
    except UnicodeDecodeError:  # its text has bytes of the content
        raise ImproperlyConfigured(f"{name}_FILE is “{file}”, which is no text in UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImproperlyConfigured(f"{name}_FILE is “{file}”, which cannot be read: {reason}.") from error
    if not value:
        raise ImproperlyConfigured(f"{name}_FILE is “{file}”, which is empty.")
    return value
