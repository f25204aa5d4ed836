"""Files of weights alone, whose tensors tell the sizes of the network (`WeightsLayout`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused, check_single_file
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.known_files import refuse_known
from inpainting.core.sentences import sentence
from inpainting.families.layouts import UnsupportedNetwork, WeightsLayout

MAX_WEIGHTS_BYTES = 2**30
"""The largest that are published, of other architectures, have less than 200 MB."""


def check_weights(path: Path, family: str, layout: WeightsLayout) -> None:
    """Check one file of that family. Raises ModelRefused."""
    check_single_file(path)
    if not path.is_file() or path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise ModelRefused(
            sentence("{file} is no file of at most {most} MB.", file=path.name, most=MAX_WEIGHTS_BYTES // 2**20)
        )
    header = read_header(path)
    refuse_known(header, path.name)
    try:
        layout.sizes(shapes_in(header))
    except ValueError as error:
        raise ModelRefused(
            sentence(
                "{file} is no network of the family {family}: {error}.", file=path.name, family=family, error=error
            )
        ) from error


def weights_family(header: Mapping[str, Any]) -> str:
    """Return the family whose network has the tensors of a file; "" for none.

    Raises ModelRefused for those of a variant that its family does not support.
    """
    shapes, refusals = shapes_in(header), list[str]()
    for family in families.registered_families():
        if isinstance(family.layout, WeightsLayout):
            try:
                family.layout.sizes(shapes)
            except UnsupportedNetwork as error:
                refusals.append(f"It is a network of {family.label} that is not supported: {error}.")
            except ValueError:
                continue
            else:
                return family.name
    if refusals:
        raise ModelRefused(refusals[0])
    return ""


def shapes_in(header: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor["shape"]) for name, tensor in header.items()}
