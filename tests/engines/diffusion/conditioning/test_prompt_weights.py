"""Brackets in prompts: weights, and plain brackets."""

from __future__ import annotations

import pytest

from inpainting.engines.diffusion.conditioning.prompt_weights import Span, parse_weights


def spans_in(prompt: str) -> list[tuple[str, float]]:
    return [(span.text, round(span.weight, 6)) for span in parse_weights(prompt)[0]]


@pytest.mark.parametrize(
    ("prompt", "spans"),
    [
        ("a (red bus:1.3), sky", [("a ", 1), ("red bus", 1.3), (", sky", 1)]),
        ("a (red bus:0.7)", [("a ", 1), ("red bus", 0.7)]),
        ("((red:1.2) bus:0.5)", [("red", 0.6), (" bus", 0.5)]),
        ("(a (small) bus: 1.1 )", [("a (small) bus", 1.1)]),
        (r"\(big:1.3\) (bus:.5)", [("(big:1.3) ", 1), ("bus", 0.5)]),
        (r"(bus \(red\):2)", [("bus (red)", 2)]),
        ("(bus:1.3:1.2)", [("bus:1.3", 1.2)]),
        ("((((bus:5):5):5):0.1)", [("bus", 5)]),
        ("(bus:0)", [("bus", 0)]),
    ],
)
def test_brackets_with_a_number_set_the_weight_of_their_words(prompt: str, spans: list[tuple[str, float]]) -> None:
    assert spans_in(prompt) == spans


@pytest.mark.parametrize(
    "prompt",
    ["", "a bus (red)", "((red)) bus", "(red:1.3", "red:1.3)", "a :) b (: c", "(a: b)", "(16:9)", "[red:1.3]", "\\d"],
)
def test_text_without_a_weight_is_unchanged(prompt: str) -> None:
    assert parse_weights(prompt)[0] == [Span(prompt)]


def test_a_number_outside_the_range_gives_a_note() -> None:
    assert parse_weights("(16:9), (red:1.3)")[1] == ("“9” is no weight: they go from 0 to 5.",)
    assert parse_weights("(red:5) (blue) (green: x)")[1] == ()


def test_deeply_nested_weights_stay_finite() -> None:
    deep = "(" * 1600 + "a (b:0)" + ":5)" * 1600
    assert spans_in(deep) == [("a ", 5), ("b", 0)]
