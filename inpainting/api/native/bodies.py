"""The three published shapes of a body, read into fields and images by name.

A: form fields and files. B: files and a form field `params` that holds JSON. C: a JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from rest_framework.request import Request

from inpainting.api.images import SentImage
from inpainting.api.parsers import json_object
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.core.setting import ValueType
from inpainting.core.settings_table import SETTINGS
from inpainting.generations.idempotency import digest_of

REPEATED = tuple(row.public_name for row in SETTINGS if row.type is ValueType.SLUGS)
"""Lists of texts, whose form field may be repeated."""
NOT_AN_IMAGE = "{} must be a file, base64, a data URL or a URL."


class Shape(Enum):
    FORM = "A"
    FORM_WITH_PARAMS = "B"
    JSON = "C"


@dataclass(frozen=True, slots=True)
class Body:
    """The fields of a request, without those that were sent empty: null in JSON, an empty text in a form."""

    shape: Shape
    fields: Mapping[str, Any]
    files: Mapping[str, UploadedFile]
    lists: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """The values of fields that may be repeated, by name: files, or the values sent in their place."""
    empty: frozenset[str] = frozenset()
    """Names of the fields that were sent empty."""

    @property
    def is_lenient(self) -> bool:
        """Whether numbers out of range are clamped: in shapes B and C, which front ends fill in by themselves."""
        return self.shape is not Shape.FORM

    def image(self, *names: str) -> SentImage | None:
        """The image under the first of these names that was sent. Raises InvalidRequest for a number or an object."""
        for name in names:
            if name in self.files:
                return SentImage(name, self.files[name])
            if name in self.fields:
                value = self.fields[name]
                if not isinstance(value, str):
                    raise InvalidRequest(NOT_AN_IMAGE.format(name), field=name)
                return SentImage(name, value)
        return None

    def images(self, name: str) -> tuple[SentImage | InvalidRequest, ...]:
        """The images of a repeated field, in order; an InvalidRequest in the place of a number or an object."""
        found: list[SentImage | InvalidRequest] = []
        for index, value in enumerate(self.lists.get(name, ())):
            place = f"{name}[{index}]"
            if isinstance(value, UploadedFile | str):
                found.append(SentImage(place, value))
            else:
                found.append(InvalidRequest(NOT_AN_IMAGE.format(place), field=place))
        return tuple(found)

    def digest(self, route: str) -> str:
        """SHA-256, in hexadecimal, of the route and the content; independent of the order of fields and parts."""
        fields = {**dict.fromkeys(self.empty), **self.fields}
        repeated = [(name, value) for name in sorted(self.lists) for value in self.lists[name]]
        start = json.dumps([route, self.shape.value, fields], sort_keys=True)
        return digest_of(start, [*sorted(self.files.items()), *repeated])


def read_body(request: Request, *, lists: Collection[str] = ()) -> Body:
    """The request's body. lists: names of fields that may be repeated: a JSON list, or several parts of a form.

    Raises InvalidRequest for malformed `params` and for a list that is something else, and what DRF's parsers raise.
    """
    body = body_without_lists(request)
    found = {name: list_values(name, body, request) for name in lists}
    fields = {name: value for name, value in body.fields.items() if name not in found}
    files = {name: file for name, file in body.files.items() if name not in found}
    return Body(body.shape, fields, files, found, body.empty)


def list_values(name: str, body: Body, request: Request) -> Sequence[Any]:
    """All values of a field, in order. Raises InvalidRequest for a form that mixes files and texts."""
    parts = request.data.getlist(name) if isinstance(request.data, QueryDict) else []
    values = parts if any(parts) else body.fields.get(name, [])
    if not isinstance(values, list):
        raise InvalidRequest(sentence("{name} must be a list.", name=name), field=name)
    if len({isinstance(value, str) for value in parts}) > 1:
        # Django separates texts from files, so the order between them, which assigns masks to images, is lost.
        raise InvalidRequest(sentence("In one form, {name} must be all files or all texts.", name=name), field=name)
    return values


def body_without_lists(request: Request) -> Body:
    if not isinstance(request.data, QueryDict):
        sent = cast("dict[str, Any]", request.data)  # see JsonFormParser
        plain = drop_empty(sent)
        return Body(Shape.JSON, plain, {}, empty=frozenset(sent.keys() - plain.keys()))
    repeated = {name: request.data.getlist(name) for name in REPEATED if len(request.data.getlist(name)) > 1}
    files = {name: file for name, file in request.FILES.items() if file is not None}
    sent = {name: value for name, value in {**request.data.dict(), **repeated}.items() if name not in files}
    plain = drop_empty(sent, empty=("", None))
    text = plain.pop("params", None)
    if text is None:
        return Body(Shape.FORM, plain, files, empty=frozenset(sent.keys() - plain.keys()))
    try:
        params = json_object(str(text), storable=False)
    except ValueError as error:
        raise InvalidRequest(f"Invalid parameters format: {error}", field="params") from error
    fields = {**drop_empty(params), **plain}
    return Body(Shape.FORM_WITH_PARAMS, fields, files, empty=frozenset({**params, **sent}.keys() - fields.keys()))


def drop_empty(fields: Mapping[str, Any], *, empty: tuple[Any, ...] = (None,)) -> dict[str, Any]:
    """The fields without empty ones. An empty prompt is kept: it is a prompt."""
    return {name: value for name, value in fields.items() if value not in empty or ("prompt" in name and value == "")}
