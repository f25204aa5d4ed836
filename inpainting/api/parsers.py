"""Reading JSON bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


def json_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object; of a repeated key the last value counts.

    Raises ValueError for any other JSON, NaN and infinities, and texts that are not Unicode.
    """
    try:
        value = json.loads(data, parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be encoded in a response
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("it holds characters that are not text") from error
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class JsonObjectParser(BaseParser):
    """Parses a JSON object in UTF-8; an empty body is an empty object. Raises ParseError for anything else."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        data = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(data) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        try:
            return json_object(data) if data.strip() else {}
        except ValueError as error:
            raise ParseError(f"The body cannot be read as JSON: {error}") from error
