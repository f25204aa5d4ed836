"""Whether this process can look at the files of the models."""

from __future__ import annotations

from django.conf import settings


def sees_model_files() -> bool:
    """False for a web process whose models folder is missing or empty, as containers and systemd create it.

    Such a process plans with the rows, and the workers have the files.
    """
    return settings.ROLE != "web" or (settings.MODELS_DIR.is_dir() and any(settings.MODELS_DIR.iterdir()))
