"""Prompt weights: `(words:1.3)` emphasises words, `(words:0.7)` weakens them; all other brackets are plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inpainting.core.sentences import sentence

WEIGHT_RANGE = (0.0, 5.0)
"""The lowest and the highest weight; 1 changes nothing."""
MAX_PRODUCT = 1e9
"""Limit of a product of weights, which must stay finite: infinity times 0 is not a number."""
WEIGHTS_IGNORED = sentence("This model reads no weights: they stand in its prompt as words and numbers.")
MARK = re.compile(r"\\[()]|[()]")
NUMBER = re.compile(r":\s*([0-9]{1,9}\.?[0-9]{0,9}|\.[0-9]{1,9})\s*\Z")


@dataclass(frozen=True, slots=True)
class Span:
    """Adjacent words of equal weight."""

    text: str
    weight: float = 1.0


def parse_weights(prompt: str) -> tuple[list[Span], tuple[str, ...]]:
    """Split a prompt into spans, in their order, and notes about brackets whose number is outside WEIGHT_RANGE.

    Weights of nested brackets multiply, within WEIGHT_RANGE. Only a pair with a colon and a number before its end is a
    weight; other brackets and unpaired ones stay in the text. `\\(` and `\\)` are brackets that never pair.
    """
    opened: list[int] = []
    weights: dict[int, float] = {}  # by position of the opening bracket
    numbers: dict[int, int] = {}  # position of the closing bracket -> that of its colon
    notes: list[str] = []
    before = 0
    for mark in MARK.finditer(prompt):
        if mark[0] == "(":
            opened.append(mark.start())
        elif mark[0] == ")" and opened:
            start = opened.pop()
            number = NUMBER.search(prompt, before, mark.start())
            if number and WEIGHT_RANGE[0] <= float(number[1]) <= WEIGHT_RANGE[1]:
                weights[start], numbers[mark.start()] = float(number[1]), number.start()
            elif number:
                lowest, highest = WEIGHT_RANGE
                notes.append(
                    sentence(
                        "“{number}” is no weight: they go from {lowest:g} to {highest:g}.",
                        number=number[1][:20],
                        lowest=lowest,
                        highest=highest,
                    )
                )
        before = mark.end()

    spans: list[Span] = []
    within = [1.0]
    before = 0
    for mark in MARK.finditer(prompt):
        spans.append(Span(prompt[before : numbers.get(mark.start(), mark.start())], clamp(within[-1])))
        before = mark.end()
        if mark.start() in weights:
            within.append(min(within[-1] * weights[mark.start()], MAX_PRODUCT))
        elif mark.start() in numbers:
            within.pop()
        else:
            spans.append(Span(mark[0][-1], clamp(within[-1])))
    spans.append(Span(prompt[before:], clamp(within[-1])))
    return join_spans(spans), tuple(dict.fromkeys(notes))


def ignored_weights(prompt: str) -> list[str]:
    """A note about the weights in a prompt for a model that reads none; empty where there are none."""
    return [WEIGHTS_IGNORED] if any(span.weight != 1 for span in parse_weights(prompt)[0]) else []


def clamp(weight: float) -> float:
    return min(max(weight, WEIGHT_RANGE[0]), WEIGHT_RANGE[1])


def join_spans(spans: list[Span]) -> list[Span]:
    """Join neighbours of equal weight, so that text without weights is tokenised as a whole."""
    whole: list[Span] = []
    for span in spans:
        if whole and whole[-1].weight == span.weight:
            whole[-1] = Span(whole[-1].text + span.text, span.weight)
        elif span.text:
            whole.append(span)
    return whole or [Span("")]
