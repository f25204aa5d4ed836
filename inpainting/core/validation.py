"""Checks of values in a request. Each raises InvalidRequest with the field, the limit and the value."""

from __future__ import annotations

import math
import re

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence

MAX_SLUG_CHARACTERS = 64
SLUG = rf"^[a-z0-9][a-z0-9._-]{{0,{MAX_SLUG_CHARACTERS - 1}}}\Z"
"""The pattern of the names of models, LoRAs and other catalog entries."""
MAX_DIGITS = 24
"""Digits of a whole number in a message. Every float and every sensible whole number is shorter."""


def check_text(name: str, text: str, max_length: int) -> None:
    """Refuse a text of more than `max_length` characters, and one that cannot be stored as UTF-8."""
    description = sentence("{name} has {count} characters", name=name, count=len(text))
    check_count(name, len(text), max_length, description)
    if "\x00" in text or any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise InvalidRequest(
            sentence("{name} contains NUL or surrogate characters, which are not text.", name=name), field=name
        )


def check_slug(slug: str, *, field: str) -> None:
    """Refuse a malformed slug. The message does not repeat it, because it may not be printable."""
    if not re.match(SLUG, slug):
        raise InvalidRequest(
            sentence(
                "A slug in {field} is 1 to {max_slug_characters} of the characters a-z 0-9 . "
                "_ - and begins with a letter or a digit.",
                field=field,
                max_slug_characters=MAX_SLUG_CHARACTERS,
            ),
            field=field,
        )


def check_count(name: str, count: int, limit: int, description: str) -> None:
    """Refuse a count above the limit.

    description: the count in words, as the message begins.
    """
    if count > limit:
        raise InvalidRequest(
            sentence("{description}; at most {limit} are allowed.", description=description, limit=limit),
            code="field_out_of_range",
            field=name,
            limit=limit,
            actual=count,
        )


def check_range(name: str, value: float, lowest: float, highest: float, *, field: str = "") -> None:
    """Refuse a value that is not lowest <= value <= highest; NaN never is.

    field: the field that contains the value.
    """
    if not lowest <= value <= highest:
        text = abbreviate(value)
        if lowest == -math.inf:
            message = sentence("{name} is {text}; it must be at most {highest}.", name=name, text=text, highest=highest)
        else:
            message = sentence(
                "{name} is {text}; it must be between {lowest} and {highest}.",
                name=name,
                text=text,
                lowest=lowest,
                highest=highest,
            )
        raise InvalidRequest(
            message,
            code="field_out_of_range",
            field=field or name,
            limit=highest if value > highest else lowest,
            actual=value if text == str(value) and math.isfinite(value) else text,
        )


def finite_numbers(values: object) -> tuple[float, ...] | None:
    """Return a list of finite numbers as floats; None for anything else, booleans included."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except OverflowError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def abbreviate(number: float) -> str:
    """Return the number as text for a message, a long whole number cut to its first digits."""
    text = str(number)
    return text if len(text) <= MAX_DIGITS else f"{text[:MAX_DIGITS]}… ({len(text)} characters)"
