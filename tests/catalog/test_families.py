"""Declarations of model families: complete, without heavy imports, and the only place that names a family."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from inpainting.catalog import families
from inpainting.catalog.families import TOOLS, DiffusersLayout, ModelFamily
from inpainting.catalog.shipped import SHIPPED, SHIPPED_ADAPTERS
from inpainting.catalog.specs import ModelSpec
from inpainting.core.settings_table import SETTINGS
from inpainting.engines import registry
from inpainting.models import InferenceModel, Lora

ROOT = Path(__file__).resolve().parents[2]
DECLARED = families.registered_families()
MAY_NAME_FAMILIES = ("inpainting/catalog/families", "inpainting/catalog/shipped", "inpainting/migrations")


@pytest.mark.parametrize("family", DECLARED, ids=[family.name for family in DECLARED])
def test_a_declaration_refers_only_to_what_exists(family: ModelFamily) -> None:
    assert family.engine in {*registry.engines(), *TOOLS}
    shipped = {spec.slug: spec for spec in (*SHIPPED, *SHIPPED_ADAPTERS)}
    assert {shipped[slug].family for slug in family.text_features.values()} <= {family.name}
    assert family.ignored_settings <= {row.name for row in SETTINGS}
    module = family.implementation.partition(":")[0]
    assert not module or find_spec(module) is not None
    if isinstance(family.layout, DiffusersLayout):
        assert family.pipeline_class in family.layout.pipelines
        components = family.layout.components
        assert not family.lora or set(family.lora.components) <= components.keys()
    if family.embedding is not None and family.embedding.tensors:
        assert len(family.embedding.widths) == len(family.embedding.tensors)


@pytest.mark.parametrize("family", DECLARED, ids=[family.name for family in DECLARED])
def test_its_name_fits_the_columns_and_its_defaults_are_valid(family: ModelFamily) -> None:
    assert len(family.name) <= (InferenceModel._meta.get_field("family").max_length or 0)
    assert family.lora is None or len(families.lora_family(family.name)) <= (
        Lora._meta.get_field("family").max_length or 0
    )
    assert ModelSpec(slug="mine", label="Mine", family=family.name, **family.defaults).width


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        families.register(DECLARED[0])
    with pytest.raises(families.UnknownFamily, match="no model family flux-9"):
        families.get("flux-9")


def test_no_other_module_names_a_family() -> None:
    names = set(families.generating())
    found = []
    for path in sorted((ROOT / "inpainting").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(MAY_NAME_FAMILIES):
            continue
        nodes = ast.walk(ast.parse(path.read_text()))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        found += [f"{place} names {name}" for name in sorted(names & texts)]
    for path in sorted((ROOT / "static").rglob("*.js")):
        text = path.read_text()
        found += [f"{path.name} names {name}" for name in sorted(names) if f'"{name}"' in text or f"'{name}'" in text]
    assert found == []


def test_layers_of_the_text_encoder_are_counted_from_the_one_that_the_family_was_trained_on() -> None:
    skips = {name: [families.get(name).clip_skip_of_layer(layer) for layer in (1, 2, 3)] for name in ("sd", "sdxl")}
    assert skips == {"sd": [1, 2, 3], "sdxl": [1, 1, 2]}
