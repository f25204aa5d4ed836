"""Specifications and configuration of single-file checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

from inpainting.catalog.inspection.formats.checkpoint_file import configuration_files
from inpainting.catalog.specs import ModelSpec
from tests.engines.diffusion.pipelines import SIDE


def spec_of(path: Path, family: str) -> ModelSpec:
    return ModelSpec(slug="tiny", label="Tiny", family=family, path=path, width=SIDE, height=SIDE)


def copy_configuration(folder: Path, family: str, beside: Path) -> None:
    """Copy the configuration files of a model's folder next to a checkpoint, as `add_model` does."""
    for name in configuration_files(folder, family):
        target = beside.with_name("config") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, target)
