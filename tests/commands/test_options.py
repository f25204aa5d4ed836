"""Every setting has an option of `manage.py inpaint`, or a reason why it has none."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentParser
from typing import Any

import pytest

from inpainting.cli.options import add_setting_options, option_name, outpaint_from_options, settings_from_options
from inpainting.core.adapter_uses import ControlUse, IPAdapterUse, LoraUse, Region
from inpainting.core.outpainting import Outpaint
from inpainting.core.setting import Setting, ValueType
from inpainting.core.settings_table import SETTINGS, PaintSettings, find_setting

WITHOUT_OPTION = {"step_down", "safety_checker"}
NAMED_OTHERWISE = {
    "loras": "--lora",
    "embeddings": "--embedding",
    "regions": "--region",
    "safety_checker_type": "--safety-checker",
}


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    add_setting_options(parser)
    return parser


def example(row: Setting) -> tuple[list[str], Any]:
    """The arguments of one option, and the value of its setting."""
    option = option_name(row.name)
    match row.type:
        case ValueType.BOOLEAN:
            return [option], True
        case ValueType.LORAS:
            return [option, "ink", option, "oil:-0.5"], (LoraUse("ink"), LoraUse("oil", -0.5))
        case ValueType.ADAPTERS if row.name == "controls":
            uses = ControlUse("edges"), ControlUse("all", 0.5, 0.1, 0.9, "depth")
            return [option, "edges", option, "all,strength=0.5,start=0.1,end=0.9,type=depth"], uses
        case ValueType.ADAPTERS:
            return [option, "look", option, "faces:0.5"], (IPAdapterUse("look"), IPAdapterUse("faces", 0.5))
        case ValueType.REGIONS:
            regions = Region("a cat"), Region("at 10:30, (blue:1.2)", 0.5)
            return [option, "a cat", option, "at 10:30, (blue:1.2):0.5"], regions
        case ValueType.SLUGS:
            return [option, "cat", option, "dog"], ("cat", "dog")
        case ValueType.CHOICE:
            return [option, row.choices[-1]], row.choices[-1]
        case ValueType.INTEGER | ValueType.NUMBER:
            assert row.range is not None
            middle = sum(row.range) / 2 if row.type is ValueType.NUMBER else int(sum(row.range)) // 2 + 1
            return [option, str(middle)], middle
        case _:
            return [option, "a word"], "a word"


def test_every_setting_has_an_option_or_a_reason() -> None:
    assert {row.name for row in SETTINGS if row.no_option} == WITHOUT_OPTION
    for row in SETTINGS:
        if row.name not in WITHOUT_OPTION:
            assert option_name(row.name) == NAMED_OTHERWISE.get(row.name, "--" + row.name.replace("_", "-"))


@pytest.mark.parametrize("row", [row for row in SETTINGS if not row.no_option], ids=lambda row: row.name)
def test_an_option_becomes_its_setting(parser: ArgumentParser, row: Setting) -> None:
    words, value = example(row)
    expected: dict[str, Any] = {row.name: value}
    if row.name == "safety_checker_type":
        expected["safety_checker"] = True
    assert settings_from_options(vars(parser.parse_args(words))) == PaintSettings(**expected)


def test_without_options_every_setting_has_its_default(parser: ArgumentParser) -> None:
    assert settings_from_options(vars(parser.parse_args([]))) == PaintSettings()


@pytest.mark.parametrize(
    ("words", "outpaint"),
    [
        ([], None),
        (["--outpaint", "left=256, bottom=8"], Outpaint(left=256, bottom=8)),
        (["--outpaint-size", "1536x1024", "--outpaint-fit", "contain"], Outpaint(size="1536x1024", fit="contain")),
        (["--outpaint-ratio", "16:9", "--outpaint-anchor", "left"], Outpaint(ratio="16:9", anchor="left")),
    ],
)
def test_options_of_outpainting_become_a_canvas(
    parser: ArgumentParser, words: list[str], outpaint: Outpaint | None
) -> None:
    assert outpaint_from_options(vars(parser.parse_args(words))) == outpaint


@pytest.mark.parametrize("sides", ["left", "left=", "middle=3", "left=-3", "left=1.5", "left=3;right=3"])
def test_malformed_sides_are_refused(parser: ArgumentParser, sides: str) -> None:
    with pytest.raises(ArgumentError, match="is not one of left=PX, top=PX"):
        parser.parse_args(["--outpaint", sides])


def test_a_boolean_can_be_turned_off(parser: ArgumentParser) -> None:
    assert settings_from_options(vars(parser.parse_args(["--no-use-karras-sigmas"]))).use_karras_sigmas is False


def test_the_help_states_ranges_and_defaults(parser: ArgumentParser) -> None:
    text = " ".join(parser.format_help().split())
    assert "(default: 1 for models trained to fill a mask and with an inpainting ControlNet, 0.75 for others)" in text
    assert "-256 to 256 px." in text
    assert find_setting("steps").help in text
