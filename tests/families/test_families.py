"""Declarations of model families are complete and without heavy imports."""

from __future__ import annotations

from importlib.util import find_spec
from pkgutil import resolve_name

import pytest

from inpainting import families
from inpainting.catalog.inspection.formats.component_file import component_file_class
from inpainting.catalog.shipped import SHIPPED, SHIPPED_ADAPTERS
from inpainting.catalog.specs import ModelSpec
from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import DEFAULT_STRENGTH, SETTINGS
from inpainting.engines import registry
from inpainting.families.declaration import TOOLS, ModelFamily
from inpainting.families.layouts import DiffusersLayout, OwnLayout
from inpainting.models import InferenceModel, Lora

DECLARED = families.registered_families()


@pytest.mark.parametrize("family", DECLARED, ids=[family.name for family in DECLARED])
def test_a_declaration_refers_only_to_what_exists(family: ModelFamily) -> None:
    assert family.engine in {*registry.engines(), *TOOLS}
    shipped = {spec.slug: spec for spec in (*SHIPPED, *SHIPPED_ADAPTERS)}
    assert {shipped[slug].family for slug in family.text_features.values()} <= {family.name}
    assert family.ignored_settings <= {row.name for row in SETTINGS}
    module = family.implementation.partition(":")[0]
    assert not module or find_spec(module) is not None
    assert family.lora is None or family.lora.load_original_name() is not None or family.lora.original_name == ""
    assert family.lora is None or family.lora.load_other_model() is not None or family.lora.other_model == ""
    component_file = component_file_class(family.name)
    assert bool(family.component_file) == (component_file is not None)
    assert component_file is None or component_file_class(component_file.usual_family) is component_file
    if isinstance(family.layout, OwnLayout):
        assert resolve_name(family.layout.check)
        assert resolve_name(family.layout.needed_files)
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


def test_models_that_were_trained_to_fill_or_edit_repaint_all_by_default() -> None:
    """Those with a UNet are told by their files, as `tests/catalog/store/test_pull.py` shows."""
    for family in DECLARED:
        if family.engine == DIFFUSION:
            strength = ModelSpec(slug="mine", label="Mine", family=family.name, **family.defaults).strength
            assert strength == (1.0 if family.fills or family.edits else DEFAULT_STRENGTH), family.name
    shipped = {spec.slug: spec.strength for spec in SHIPPED if "inpainting" in spec.slug}
    assert shipped == {"sd15-inpainting": 1.0, "sd2-inpainting": 1.0, "sdxl-inpainting": 0.99}


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        families.register(DECLARED[0])
    with pytest.raises(families.UnknownFamily, match="no model family flux-9"):
        families.get("flux-9")


def test_layers_of_the_text_encoder_are_counted_from_the_one_that_the_family_was_trained_on() -> None:
    skips = {name: [families.get(name).clip_skip_of_layer(layer) for layer in (1, 2, 3)] for name in ("sd", "sdxl")}
    assert skips == {"sd": [1, 2, 3], "sdxl": [1, 1, 2]}
