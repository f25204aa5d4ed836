"""Reading JSON and urlencoded bodies, of a limited number of values.

Parsed values take much more memory than their text, and the parser holds the GIL: 63 MiB of `[],[],…` take gigabytes
and stop all other threads for seconds. So values are counted before anything is parsed.
"""

from __future__ import annotations

import gc
import json
import math
import re
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, ClassVar, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.request import Request

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import Sentence, mark, sentence
from inpainting.image_limits import image_limits

LARGE_BYTES = 2**20
_large_body = threading.Lock()
"""Held while a large body is parsed: its bytes, its text and its values are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on how often some ASCII characters may occur in a body."""

    characters: bytes
    occurrences: int
    what: str

    def count(self, data: bytes | str, before: int = 0) -> int:
        """Return the occurrences in these bytes or this text, and `before` them.

        Raises InvalidRequest if there are too many.
        """
        if isinstance(data, str):  # Its bytes would take as much memory again.
            count = before + sum(map(data.count, self.characters.decode()))
        else:
            count = before + sum(map(data.count, self.characters))
        if count > self.occurrences:
            message = sentence(
                "The body has too many {what}; at most {occurrences} are read.",
                what=Sentence(self.what),
                occurrences=self.occurrences,
            )
            raise InvalidRequest(message, code="body_too_many_values", limit=self.occurrences)
        return count


JSON_VALUES = Limit(b",[{", 20_000, mark("values"))
"""Each value follows a comma or a bracket. Base64 has none of them, and a batch of 100 images a few hundred."""
FORM_ESCAPES = Limit(b"%", 400_000, mark("escaped characters"))
"""10 MB of base64 have so many. Decoding them takes 0.3 s and 100 MB."""


JSON_SPACE = " \t\r\n"
"""RFC 8259, section 2; `str.isspace` knows more."""
MAX_DIGITS = 2000
"""Of a whole number. Python itself would read 4,300."""
ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 as `json.dumps` writes it: after an even number of backslashes."""


def json_object(text: str, *, storable: bool = True) -> dict[str, Any]:
    """Parse one JSON object; of a repeated key the last value counts.

    storable: also refuse numbers that are not finite and the character U+0000, which JSON columns cannot hold.
    Raises ValueError for any other JSON, NaN and infinities, and texts that are not Unicode.
    """
    try:
        read_float = finite if storable else any_float
        value = json.loads(text, parse_constant=refuse_constant, parse_float=read_float, parse_int=whole_number)
        if "\\u" in text:
            decoded = json.dumps(value, ensure_ascii=False)
            decoded.encode()  # Escapes may form a lone surrogate, which has no UTF-8.
            if storable and ESCAPED_NUL.search(decoded):
                raise ValueError("it holds the character U+0000")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("it holds characters that are not text") from error
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def whole_number(text: str) -> int:
    """Converting digits takes time by the square of their number: 60 MB of numbers as long as Python reads take a
    second, in which no other thread runs."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:20]}… has too many digits")
    return int(text)


def any_float(text: str) -> float:
    """As `float`, which would let no other thread run until a text of 500,000 numbers is read."""
    return float(text)


def finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


@contextmanager
def one_at_a_time(is_large: bool) -> Iterator[None]:
    """Parse a large body while no other one is parsed, and without garbage collections: they would look again and again
    at values that all stay, for half of the time, and let no other thread run meanwhile."""
    if not is_large:
        yield
        return
    with _large_body:
        gc.disable()
        try:
            yield
        finally:
            gc.enable()


class LimitedBodyParser(BaseParser):
    """Base class: large bodies are read and parsed one at a time in this process."""

    limit: ClassVar[Limit]
    max_bytes: ClassVar[int | None] = None  # DATA_UPLOAD_MAX_MEMORY_SIZE

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Parse a body. Raises InvalidRequest for more occurrences than `limit`, RequestDataTooBig, and what
        `parse_body` raises."""
        max_bytes = self.max_bytes or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        chunk, count, body = stream.read(LARGE_BYTES), 0, BytesIO()
        with one_at_a_time(len(chunk) == LARGE_BYTES):
            while chunk:
                if body.tell() + len(chunk) > max_bytes:
                    raise RequestDataTooBig
                count = self.limit.count(chunk, count)
                body.write(chunk)
                chunk = stream.read(LARGE_BYTES)
            body.seek(0)
            return self.parse_body(body, parser_context or {})

    @abstractmethod
    def parse_body(self, body: BytesIO, parser_context: Mapping[str, Any]) -> Any:
        """Return the values of the whole body."""


class JsonObjectParser(LimitedBodyParser):
    """Parses a JSON object in UTF-8; an empty body is an empty object. Raises ParseError for anything else."""

    media_type = "application/json"
    limit = JSON_VALUES
    storable: ClassVar[bool] = True

    def parse_body(self, body: BytesIO, parser_context: Mapping[str, Any]) -> dict[str, Any]:
        try:
            text = body.getvalue().decode(json.detect_encoding(body.getvalue()))
            body.close()  # The text takes as much memory.
            return json_object(text, storable=self.storable) if text.strip(JSON_SPACE) else {}
        except ValueError as error:
            raise ParseError(sentence("The body cannot be read as JSON: {error}", error=error)) from error


class JsonFormParser(JsonObjectParser):
    """Parses the JSON object of a view whose form refuses values that cannot be stored, by the name of the field."""

    storable = False


class AnyTypeJsonParser(JsonObjectParser):
    """Parses JSON under every media type: some services' clients declare none, or that of forms."""

    media_type = "*/*"


def body_of(request: Request) -> dict[str, Any]:
    """Return the body of a request that JsonObjectParser reads."""
    return cast("dict[str, Any]", request.data)


class UrlencodedParser(LimitedBodyParser):
    """Parses an urlencoded form. Raises TooManyFieldsSent for more than DATA_UPLOAD_MAX_NUMBER_FIELDS."""

    media_type = FormParser.media_type
    limit = FORM_ESCAPES

    def parse_body(self, body: BytesIO, parser_context: Mapping[str, Any]) -> Any:
        form: QueryDict = FormParser().parse(body, self.media_type, parser_context)
        check_texts(form)
        return form


class FormDataParser(MultiPartParser):
    """Parses a multipart form. A large one may hold large texts, so these are parsed one at a time as well."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        length = parser_context["request"].META.get("CONTENT_LENGTH", "") if parser_context else ""
        with one_at_a_time(not length.isdigit() or int(length) > LARGE_BYTES):
            parsed = super().parse(stream, media_type, parser_context)
            check_texts(parsed.data)  # before the next form is parsed: a refused one gives its memory back
            return parsed


def check_texts(form: QueryDict) -> None:
    """Refuse texts with more values than a JSON body may have, and those that are larger than any image in base64.

    Most large texts are JSON or images. Raises InvalidRequest and RequestDataTooBig.
    """
    largest = image_limits().max_bytes * 3 // 2  # Base64 takes 4/3; slightly too large images get their own error.
    for _, texts in form.lists():
        for text in texts:
            JSON_VALUES.count(text)
            if len(text) > largest:
                raise RequestDataTooBig


class ImageBytesParser(BaseParser):
    """Reads an image that is the whole body, as a file; one byte more than an image may have, which is then refused."""

    media_type = "*/*"
    field: ClassVar[str] = "image"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {self.field: SimpleUploadedFile("image", stream.read(image_limits().max_bytes + 1))}
