"""Adds models, adapters and LoRAs to the catalog with the administrator's commands."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command

from inpainting.models import InferenceModel


def add_model(slug: str, origin: Path, *more: str, family: str = "sd", **columns: Any) -> InferenceModel:
    """columns: values of the row that differ from those of the command."""
    call_command("add_model", slug, "--family", family, "--from", str(origin), *more, stdout=StringIO())
    InferenceModel.objects.filter(slug=slug).update(slug=slug, **columns)
    return InferenceModel.objects.get(slug=slug)


def add_lora(slug: str, file: Path, *more: str, family: str = "sd") -> None:
    call_command("add_lora", slug, "--family", family, "--from", str(file), *more, stdout=StringIO())
