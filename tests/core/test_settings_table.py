"""The table of settings is complete, and the checks of PaintSettings follow from it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpainting.core.adapter_uses import LoraUse
from inpainting.core.errors import InvalidRequest
from inpainting.core.setting import DIFFUSION, ERASE, EVERY_ENGINE, LISTS, QUICK_FILL, Setting, ValueType
from inpainting.core.settings_table import (
    GUIDANCE_SETTINGS,
    INSERT_SETTINGS,
    SETTINGS,
    PaintSettings,
    auto_reason,
    find_ignored,
    find_setting,
    settings_ignored_by,
)

NUMBERS = [row for row in SETTINGS if row.range is not None]
NUMBER_LIMITS = {
    **{"strength": (0, 1), "seed": (0, 2**63 - 1), "num_images": (1, 8), "mask_grow": (-256, 256), "steps": (1, 150)},
    "lanpaint_steps": (0, 20),
    **{"mask_blur": (0, 256), "only_masked_padding": (0, 1024), "guidance_scale": (1, 100), "width": (64, 2048)},
    **{
        "max_upscaling": (1, 16),
        "context_factor": (1, 10),
        "height": (64, 2048),
        "clip_skip": (1, 8),
        "guidance_start": (0, 1),
        "guidance_end": (0, 1),
    },
    **{"insert_x": (-100_000, 100_000), "insert_y": (-100_000, 100_000), "insert_width": (1, 100_000)},
    "insert_rotation": (-180, 180),
    **{"guidance_rescale": (0, 1), "quality": (1, 100), "max_file_kilobytes": (1, 100_000)},
    **{"control_strength": (0, 2), "control_start": (0, 1), "control_end": (0, 1), "ip_adapter_scale": (0, 1)},
}
"""The published limits: changing one changes the API."""
READ_BY_EVERY_ENGINE = {
    *("num_images", "mask_grow", "mask_blur", "include_shadow", "safety_checker", "safety_checker_type"),
    *("output_format", "quality", "max_file_kilobytes", "keep_metadata"),
}


def settings_of(**values: Any) -> PaintSettings:
    return PaintSettings(**values)


def refusal(**values: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        PaintSettings(**values)
    return refused.value


def test_every_row_names_its_field_and_has_the_texts_for_people() -> None:
    assert [row.name for row in SETTINGS] == [field.name for field in fields(PaintSettings)]
    for row in SETTINGS:
        assert row.label, row.name
        assert row.help.endswith("."), row.name
        assert getattr(PaintSettings(), row.name) == row.default
        if row.default is not None:
            row.check(row.default)
        assert row.default_words or row.type in (ValueType.TEXT, *LISTS), row.name
        assert bool(row.choices) == (row.type is ValueType.CHOICE), row.name
        assert (row.range is not None) == (row.type in (ValueType.INTEGER, ValueType.NUMBER)), row.name
        assert row.read_by <= {EVERY_ENGINE, QUICK_FILL, ERASE, DIFFUSION}, row.name
        assert row.option == "" or row.no_option == "", row.name


def test_rows_refer_to_settings_that_exist_and_names_are_unique() -> None:
    known = {row.name for row in SETTINGS}
    public = [name for row in SETTINGS for name in (row.public_name, *row.aliases)]
    assert len(public) == len(set(public))
    for row in SETTINGS:
        assert row.adapter == "" or find_setting(row.adapter).catalog_kind, row.name
        assert row.ignored_when is None or row.ignored_when.setting in known, row.name
        is_number_of_adapter = bool(row.adapter) and row.type is ValueType.NUMBER
        assert (row.adapter_default is not None) == is_number_of_adapter, row.name
        assert find_setting(row.name) is row


def test_the_limits_are_the_published_ones() -> None:
    assert {row.name: row.range for row in NUMBERS} == NUMBER_LIMITS


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_numbers_are_allowed_up_to_their_limits_and_no_further(row: Setting) -> None:
    assert row.range is not None
    beside = {"guidance_end": 1.0} if row.name == "guidance_start" else {}
    for limit, beyond in zip(row.range, (row.range[0] - 1, row.range[1] + 1), strict=True):
        is_interval = row.name in ("guidance_start", "guidance_end")
        if not is_interval or limit == {"guidance_start": 0.0, "guidance_end": 1.0}[row.name]:
            assert getattr(settings_of(**{row.name: limit}, **beside), row.name) == limit
        error = refusal(**{row.name: beyond})
        assert (error.code, error.field, error.limit) == ("field_out_of_range", row.name, limit)
        assert error.actual == beyond
        assert f"between {row.range[0]} and {row.range[1]}" in error.message
    assert refusal(**{row.name: float("nan")}).actual == "nan"


@pytest.mark.parametrize("row", [row for row in SETTINGS if row.choices], ids=lambda row: row.name)
def test_choices_are_exactly_those_of_the_row(row: Setting) -> None:
    for name in row.choices:
        assert getattr(settings_of(**{row.name: name}), row.name) == name
    error = refusal(**{row.name: "nonsense"})
    assert (error.field, error.code) == (row.name, row.choice_code)
    assert all(name in error.message for name in row.choices)


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_texts_have_a_greatest_length_and_can_be_stored(name: str) -> None:
    assert getattr(settings_of(**{name: "a" * 10_000}), name) == "a" * 10_000
    error = refusal(**{name: "a" * 10_001})
    assert (error.code, error.limit, error.actual) == ("field_out_of_range", 10_000, 10_001)
    for character in ("\x00", "\ud800", "\udfff"):
        assert refusal(**{name: f"a{character}"}).field == name


@pytest.mark.parametrize(("name", "make"), [("loras", LoraUse), ("embeddings", str)])
def test_lists_have_a_greatest_length_and_no_entry_twice(name: str, make: Any) -> None:
    eight = tuple(make(f"a-{number}") for number in range(8))
    assert getattr(settings_of(**{name: eight}), name) == eight
    error = refusal(**{name: (*eight, make("b"))})
    assert (error.code, error.limit, error.actual) == ("field_out_of_range", 8, 9)
    assert "more than once" in refusal(**{name: (make("a"), make("a"))}).message


@pytest.mark.parametrize("slug", ["", "A", "-a", "a b", "a\n", "a" * 65])
def test_lists_take_slugs_alone(slug: str) -> None:
    assert refusal(embeddings=(slug,)).field == "embeddings"
    with pytest.raises(InvalidRequest, match="A slug in loras"):
        LoraUse(slug)


@pytest.mark.parametrize("weight", [-2.1, 2.1, float("nan"), float("inf")])
def test_weights_of_loras_have_limits(weight: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        LoraUse("ink", weight)
    assert (refused.value.code, refused.value.field) == ("field_out_of_range", "loras")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"guidance_start": 0.5, "guidance_end": 0.5}, "guidance_start"),
        ({"guidance_start": 1.0}, "guidance_start"),
        ({"guidance_end": 0.0}, "guidance_start"),
        ({"control_start": 0.6, "control_end": 0.5}, "control_start"),
    ],
)
def test_an_interval_begins_before_it_ends(values: dict[str, float], field: str) -> None:
    assert refusal(**values).field == field


def test_settings_are_frozen_and_compare_by_value() -> None:
    settings = PaintSettings(prompt="a lawn")
    assert settings == PaintSettings(prompt="a lawn")
    assert hash(settings) == hash(PaintSettings(prompt="a lawn"))
    with pytest.raises(FrozenInstanceError):
        settings.prompt = "a pond"  # type: ignore[misc]  # frozen: that is what is tested
    with pytest.raises(AttributeError):
        object.__setattr__(settings, "other", 1)


@given(st.booleans(), st.sampled_from([row for row in NUMBERS if not row.name.startswith("guidance")]), st.data())
def test_stored_settings_are_read_back(exclude_defaults: bool, row: Setting, data: st.DataObject) -> None:
    assert row.range is not None
    lowest, highest = row.range
    is_whole = row.type is ValueType.INTEGER
    values = st.integers(int(lowest), int(highest)) if is_whole else st.floats(lowest, highest)
    settings = settings_of(**{row.name: data.draw(values)}, loras=(LoraUse("ink", 0.5),), embeddings=("cat",))
    stored = json.loads(json.dumps(settings.to_dict(exclude_defaults=exclude_defaults)))
    assert PaintSettings.from_dict(stored) == settings


def test_to_dict_is_asdict_and_leaves_defaults_out_on_request() -> None:
    settings = PaintSettings(prompt="a lawn", steps=3, loras=(LoraUse("ink"),))
    assert settings.to_dict() == asdict(settings)
    named = {"prompt": "a lawn", "steps": 3, "loras": ({"slug": "ink", "weight": 1.0},)}
    assert settings.to_dict(exclude_defaults=True) == named


def test_settings_of_another_release_are_read_or_refused_by_name() -> None:
    assert PaintSettings.from_dict({"algorithm_type": "dpmsolver+++"}).algorithm_type == "dpmsolver++"
    with pytest.raises(InvalidRequest, match="another_setting") as refused:
        PaintSettings.from_dict({"another_setting": 1})
    assert refused.value.field == "another_setting"


def test_what_each_engine_does_not_read() -> None:
    every = {row.name for row in SETTINGS}
    assert settings_ignored_by(QUICK_FILL) == every - READ_BY_EVERY_ENGINE - {"seed"} - INSERT_SETTINGS
    assert settings_ignored_by(ERASE) == every - READ_BY_EVERY_ENGINE - {"model"}
    assert settings_ignored_by(DIFFUSION) == set()
    assert settings_ignored_by("an engine that no row names") == every - READ_BY_EVERY_ENGINE


def test_a_prompt_and_whatever_only_diffusion_can_use_are_reasons_for_diffusion() -> None:
    assert auto_reason(PaintSettings()) == ""
    assert auto_reason(PaintSettings(prompt="  ", steps=3, negative_prompt="a dog")) == ""
    assert auto_reason(PaintSettings(prompt="a lawn", model="sd15")) == "There is a prompt"
    chosen = {"preset": "draft", "model": "sd15", "vae": "soft", "control": "edges", "ip_adapter": "look"}
    lists = {"loras": (LoraUse("ink"),), "embeddings": ("cat",)}
    for name, value in {**chosen, **lists}.items():
        assert auto_reason(settings_of(**{name: value})) == find_setting(name).auto_reason != ""


def test_settings_without_effect_come_with_the_reason() -> None:
    guided = PaintSettings(guidance_scale=7.5, control="edges", ip_adapter="look", output_format="webp")
    numbers_of_control = {"control_strength", "control_start", "control_end", "control_type"}
    assert find_ignored(guided) == {}
    guidance = {"negative_prompt", "guidance_start", "guidance_end", "guidance_rescale"}
    assert find_ignored(replace(guided, guidance_scale=1.0)).keys() == guidance
    assert find_ignored(replace(guided, control=None)).keys() == numbers_of_control
    assert find_ignored(replace(guided, output_format="png")).keys() == {"quality", "max_file_kilobytes"}
    assert find_ignored(replace(guided, ip_adapter=None)).keys() == {"ip_adapter_scale"}
    for reason in find_ignored(PaintSettings(guidance_scale=1.0)).values():
        assert reason.endswith(".")


def test_the_settings_of_guidance_are_those_that_a_scale_of_1_makes_idle() -> None:
    unguided = PaintSettings(guidance_scale=1.0, control="edges", ip_adapter="look", output_format="webp")
    assert find_ignored(unguided).keys() == GUIDANCE_SETTINGS
