"""What was sent, in any of the published shapes -> its fields and pictures by name.

A: form fields and files. B: files and a form field `params`, whose text is JSON. C: a JSON object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.views import APIView

from inpainting.core.errors import InvalidRequest

REPEATED = ("embeddings",)
"""Lists of texts: in a form the field may come once for each."""


class Shape(Enum):
    FORM = "A"
    FORM_WITH_PARAMS = "B"
    JSON = "C"


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture as it came: the field it came in, and a file or a text."""

    field: str
    value: UploadedFile | str


@dataclass(frozen=True, slots=True)
class Body:
    """The fields of a request. What was sent as nothing - null, or an empty text in a form - is not among them, but is
    named in `empty`."""

    shape: Shape
    fields: Mapping[str, Any]
    files: Mapping[str, UploadedFile]
    lists: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Pictures by the names that may come more than once, each a file or what was sent in its place."""
    empty: frozenset[str] = frozenset()

    @property
    def is_lenient(self) -> bool:
        """Shapes B and C are filled in by front ends: their numbers are clamped, those of shape A are refused."""
        return self.shape is not Shape.FORM

    def picture(self, *names: str) -> Sent | None:
        """The picture sent under the first of these names that is there. Raises InvalidRequest where it is none."""
        for name in names:
            if name in self.files:
                return Sent(name, self.files[name])
            if name in self.fields:
                value = self.fields[name]
                if not isinstance(value, str):
                    raise InvalidRequest(f"{name} must be a file, base64, a data URL or a URL.", field=name)
                return Sent(name, value)
        return None

    def pictures(self, name: str) -> tuple[Sent | InvalidRequest, ...]:
        """The pictures sent as a list, in their order; of what is none, why."""
        found: list[Sent | InvalidRequest] = []
        for index, value in enumerate(self.lists.get(name, ())):
            place = f"{name}[{index}]"
            if isinstance(value, UploadedFile | str):
                found.append(Sent(place, value))
            else:
                found.append(InvalidRequest(f"{place} must be a file, base64, a data URL or a URL.", field=place))
        return tuple(found)

    def digest(self, route: str) -> str:
        """SHA-256 of all that was sent, and whereto, the same however a client orders or separates it."""
        fields = {**dict.fromkeys(self.empty), **self.fields}
        whole = hashlib.sha256(json.dumps([route, self.shape.value, fields], sort_keys=True).encode())
        listed = [(name, value) for name in sorted(self.lists) for value in self.lists[name]]
        for name, value in [*sorted(self.files.items()), *listed]:
            if not isinstance(value, UploadedFile):
                whole.update(json.dumps([name, value], sort_keys=True).encode())
                continue
            whole.update(json.dumps([name, value.size]).encode())
            for chunk in value.chunks():
                whole.update(chunk)
            value.seek(0)
        return whole.hexdigest()


def body_of(request: Request, *, lists: Collection[str] = ()) -> Body:
    """The request's body. lists: the names of which there may be more than one, a JSON list or repeated parts.

    Raises InvalidRequest for `params` that are no JSON object, lists that are none, and what DRF's parsers raise.
    """
    body = plain_body_of(request)
    found = {name: listed(name, body, request) for name in lists}
    fields = {name: value for name, value in body.fields.items() if name not in found}
    files = {name: file for name, file in body.files.items() if name not in found}
    return Body(body.shape, fields, files, found, body.empty)


def listed(name: str, body: Body, request: Request) -> Sequence[Any]:
    """All that was sent under a name, in its order; what was sent as nothing is an empty list."""
    parts = request.data.getlist(name) if isinstance(request.data, QueryDict) else []
    values = parts if any(parts) else body.fields.get(name, [])
    if not isinstance(values, list):
        raise InvalidRequest(f"{name} must be a list.", field=name)
    if len({isinstance(value, str) for value in parts}) > 1:
        # A form's texts and files come to us apart: nobody could say which mask belongs to which picture.
        raise InvalidRequest(f"In one form, {name} must be all files or all texts.", field=name)
    return values


def plain_body_of(request: Request) -> Body:
    if not isinstance(request.data, QueryDict):
        sent = cast("dict[str, Any]", request.data)  # see JsonObjectParser
        plain = said(sent)
        return Body(Shape.JSON, plain, {}, empty=frozenset(sent.keys() - plain.keys()))
    repeated = {name: request.data.getlist(name) for name in REPEATED if len(request.data.getlist(name)) > 1}
    files = {name: file for name, file in request.FILES.items() if file is not None}
    sent = {name: value for name, value in {**request.data.dict(), **repeated}.items() if name not in files}
    plain = said(sent, empty=("", None))
    text = plain.pop("params", None)
    if text is None:
        return Body(Shape.FORM, plain, files, empty=frozenset(sent.keys() - plain.keys()))
    try:
        params = json_object(str(text).encode())
    except ValueError as error:
        raise InvalidRequest(f"Invalid parameters format: {error}", field="params") from error
    fields = {**said(params), **plain}
    return Body(Shape.FORM_WITH_PARAMS, fields, files, empty=frozenset({**params, **sent}.keys() - fields.keys()))


def said(fields: Mapping[str, Any], *, empty: tuple[Any, ...] = (None,)) -> dict[str, Any]:
    """Without the fields that say nothing. An empty prompt says something."""
    return {name: value for name, value in fields.items() if value not in empty or ("prompt" in name and value == "")}


def json_object(data: bytes) -> dict[str, Any]:
    """Raises ValueError for anything but one JSON object whose texts are Unicode. Of a doubled key the last counts."""
    try:
        value = json.loads(data, parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text, and could not be answered
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
    """A JSON object in UTF-8, or no body at all. Raises ParseError for everything else."""

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


class TakesBodies(APIView):
    """A view that reads any of the shapes."""

    parser_classes = (MultiPartParser, FormParser, JsonObjectParser)
