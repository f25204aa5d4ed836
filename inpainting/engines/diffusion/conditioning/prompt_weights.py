"""What a prompt's brackets mean: `(words:1.3)` weighs more, `(words:0.7)` less; all other brackets are brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass

WEIGHTS = (0.0, 5.0)
"""The lowest and the highest weight; 1 is as if nothing were said."""
ENOUGH = 1e9
"""A product of weights is not followed beyond it: infinity times 0 is no number."""
MARK = re.compile(r"\\[()]|[()]")
NUMBER = re.compile(r":\s*([0-9]{1,9}\.?[0-9]{0,9}|\.[0-9]{1,9})\s*\Z")


@dataclass(frozen=True, slots=True)
class Span:
    """Words that share a weight."""

    text: str
    weight: float = 1.0


def spans_of(prompt: str) -> tuple[list[Span], tuple[str, ...]]:
    """The prompt's words in their order, and sentences about brackets whose number is no weight.

    Brackets within brackets multiply, within WEIGHTS. Only a pair with a colon and a number before its end is a weight:
    of others, and of those without a partner, nothing is taken away. `\\(` and `\\)` are brackets that never pair.
    """
    opened: list[int] = []
    weights: dict[int, float] = {}  # by where the bracket stands that opens
    numbers: dict[int, int] = {}  # where the bracket stands that closes -> where its colon does
    notes: list[str] = []
    before = 0
    for mark in MARK.finditer(prompt):
        if mark[0] == "(":
            opened.append(mark.start())
        elif mark[0] == ")" and opened:
            start = opened.pop()
            number = NUMBER.search(prompt, before, mark.start())
            if number and WEIGHTS[0] <= float(number[1]) <= WEIGHTS[1]:
                weights[start], numbers[mark.start()] = float(number[1]), number.start()
            elif number:
                lowest, highest = WEIGHTS
                notes.append(f"“{number[1][:20]}” is no weight: they go from {lowest:g} to {highest:g}.")
        before = mark.end()

    spans: list[Span] = []
    within = [1.0]
    before = 0
    for mark in MARK.finditer(prompt):
        spans.append(Span(prompt[before : numbers.get(mark.start(), mark.start())], held(within[-1])))
        before = mark.end()
        if mark.start() in weights:
            within.append(min(within[-1] * weights[mark.start()], ENOUGH))
        elif mark.start() in numbers:
            within.pop()
        else:
            spans.append(Span(mark[0][-1], held(within[-1])))
    spans.append(Span(prompt[before:], held(within[-1])))
    return joined(spans), tuple(dict.fromkeys(notes))


def held(weight: float) -> float:
    return min(max(weight, WEIGHTS[0]), WEIGHTS[1])


def joined(spans: list[Span]) -> list[Span]:
    """Neighbours of one weight are one: what is not weighted is read as it stands there."""
    whole: list[Span] = []
    for span in spans:
        if whole and whole[-1].weight == span.weight:
            whole[-1] = Span(whole[-1].text + span.text, span.weight)
        elif span.text:
            whole.append(span)
    return whole or [Span("")]
