"""The tables of model families in `docs/use/models.md` say what the families declare, cell by cell."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from inpainting import families
from inpainting.catalog.inspection.adapter_files import check_vae
from inpainting.catalog.inspection.file_recognition import file_at
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.found_model import FoundModel
from inpainting.catalog.shipped import SHIPPED
from inpainting.core.setting import DIFFUSION
from inpainting.families.declaration import ModelFamily
from inpainting.families.layouts import DiffusersLayout
from tests.support.comfyui_files import FLUX_2, sd3
from tests.support.installation import ROOT
from tests.support.published_headers import (
    Tensors,
    checkpoint,
    chroma,
    flux,
    flux_2,
    qwen_image,
    scaled,
    write_gguf,
    write_sparse,
    z_image,
)

DOCUMENT = (ROOT / "docs/use/models.md").read_text()
HALF, FP8 = "BF16", "F8_E4M3"


def published(family: str, dtype: str) -> Tensors:
    """The tensors of a published file of the family's network, or of a whole checkpoint where that is one file."""
    made = {
        "chroma": lambda: chroma(dtype=dtype),
        "flux-dev": lambda: flux(dtype=dtype),
        "flux-fill": lambda: flux(channels=384, dtype=dtype),
        "flux-kontext": lambda: flux(dtype=dtype),
        "flux2-klein": lambda: flux_2(*FLUX_2["klein-4b"], dtype=dtype),
        "qwen-image": lambda: qwen_image(dtype=dtype),
        "qwen-image-edit": lambda: qwen_image(dtype=dtype),
        "sd3": lambda: {name: of for name, of in sd3(38, 192, prefix="", dtype=dtype).items() if "stage" not in name},
        "sd": lambda: checkpoint(768, dtype=dtype),
        "sdxl": lambda: checkpoint(2048, dtype=dtype),
        "z-image": lambda: z_image(dtype=dtype),
    }
    return made[family]()


def recognised(path: Path, family: str) -> FoundModel | None:
    """What a scan takes a file for; None where it is no model of the family."""
    try:
        found = file_at(path)
    except ModelRefused:
        return None
    return found if found is not None and found.family == family else None


def has_vaes(family: ModelFamily) -> bool:
    try:
        check_vae({"latent_channels": family.latent_channels or 4}, family.name)
    except ModelRefused:
        return False
    return True


def expected_cells(family: ModelFamily, folder: Path) -> dict[str, str]:
    def yes(value: object) -> str:
        return "yes" if value else "no"

    name, layout = family.name, family.layout
    assert isinstance(layout, DiffusersLayout)
    has_unet = "unet" in layout.components  # its channels tell which kind a checkpoint is
    # The name tells FLUX.1 Kontext and Qwen-Image-Edit from models of the same tensors.
    stem = f"{name}-2509" if name == "qwen-image-edit" else name
    whole = write_sparse(folder / f"{stem}.safetensors", published(name, HALF))
    in_fp8 = [
        write_sparse(folder / f"{stem}-fp8.safetensors", published(name, FP8)),
        write_sparse(folder / f"{stem}-fp8-scaled.safetensors", scaled(published(name, HALF))),
    ]
    found = recognised(whole, name)
    return {
        "plain": yes(has_unet or not (family.fills or family.edits)),
        "mask": yes(has_unet or family.fills),
        "edit": yes(family.edits),
        "references": str(family.max_reference_images or "no"),
        "LoRA": "no"
        if not family.lora
        else "yes"
        if families.lora_family(name) == name
        else families.lora_family(name),
        "ControlNet": yes(family.controlnet or family.text_features),
        "IP-Adapter": yes(family.text_features or family.image_prompts),
        "embedding": yes(family.embedding),
        "VAE": yes(has_vaes(family)),
        "fp8": yes(all(recognised(path, name) for path in in_fp8)),
        "GGUF": yes(recognised(write_gguf(folder / f"{stem}.gguf", published(name, HALF)), name)),
        "split files": yes(found and found.lacks_components),
    }


def expected_defaults(family: str, steps: int, guidance_scale: float, *, takes_guidance: bool = True) -> dict[str, str]:
    is_guided = takes_guidance and guidance_scale > 1
    ignores_negative = "negative_prompt" in families.get(family).ignored_settings or not is_guided
    return {
        "steps": str(steps),
        "guidance scale": f"{guidance_scale:g}" if is_guided else "none",
        "negative prompt": "ignored" if ignores_negative else "read",
    }


def table_with(first_cell: str) -> dict[str, dict[str, str]]:
    """The rows of the table that begins with this cell: first cell, without its code marks -> column -> cell."""
    lines = DOCUMENT[DOCUMENT.index(f"\n| {first_cell} |") + 1 :].splitlines()
    columns, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in takewhile(is_row, lines))
    return {row[0].strip("`"): dict(zip(columns[1:], row[1:], strict=True)) for row in rows}


def is_row(line: str) -> bool:
    return line.startswith("|")


def test_each_cell_of_the_table_of_families_is_what_the_family_takes(tmp_path: Path) -> None:
    expected = {
        family.name: expected_cells(family, tmp_path)
        for family in families.registered_families()
        if family.engine == DIFFUSION
    }
    assert table_with("family") == expected


def test_the_defaults_of_flow_matching_models_are_those_of_the_catalog() -> None:
    shown = table_with("flow-matching model")
    expected = {
        spec.slug: expected_defaults(
            spec.family, spec.steps, spec.guidance_scale, takes_guidance=spec.slug != "flux-schnell"
        )
        for spec in SHIPPED
        if "strength" in families.get(spec.family).defaults or families.get(spec.family).ignored_settings
    }
    assert {name: {column: cells[column] for column in expected[name]} for name, cells in shown.items()} == expected
