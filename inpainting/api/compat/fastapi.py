"""Request bodies and errors as FastAPI reads and answers them, for the services that are built with it.

A body is validated by a pydantic model, whose errors are the `detail` list of FastAPI's 422.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, QueryDict
from pydantic import BaseModel, PlainValidator, ValidationError
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from inpainting.api.dialect import json_response
from inpainting.api.errors import MAX_QUOTED_CHARACTERS, ApiError
from inpainting.api.parsers import FormDataParser, UrlencodedParser
from inpainting.core.errors import InvalidRequest

REASONS = {"not_found": "Not Found", "method_not_allowed": "Method Not Allowed"}
"""Codes of errors -> Starlette's text for the status."""


class InvalidBody(InvalidRequest):
    """A body that FastAPI answers with 422.

    details: the entries of its `detail` list.
    """

    def __init__(self, details: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(str(entry["msg"]) for entry in details), code="field_invalid")
        self.details = details


class AnyOtherParser(BaseParser):
    """Stands for a form without fields: FastAPI finds no field in a body that is no form."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {}


FORM_PARSERS = (FormDataParser, UrlencodedParser, AnyOtherParser)
"""`parser_classes` of a view whose fields FastAPI declares as `Form` and `File`."""


def expect_file(value: Any) -> UploadedFile:
    if not isinstance(value, UploadedFile):
        raise ValueError(f"Expected UploadFile, received: {type(value)}")
    return value


File = Annotated[UploadedFile, PlainValidator(expect_file)]
"""A field of a form that is a file."""

Model = TypeVar("Model", bound=BaseModel)


def form_fields(request: Request) -> dict[str, Any]:
    """Return the fields of a form without the empty ones, which FastAPI treats as not sent. Of a repeated field the
    last."""
    sent = request.data.dict() if isinstance(request.data, QueryDict) else {}
    return {name: value for name, value in sent.items() if value != ""}


def validate(model: type[Model], fields: Mapping[str, Any], *, is_form: bool = False, place: str = "body") -> Model:
    """Return the fields as that model. Raises InvalidBody, with the errors in the order of the model's fields.

    place: the first part of each `loc`, `body` or `query`.
    """
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise InvalidBody([detail(dict(entry), is_form=is_form, place=place) for entry in found]) from error


def detail(entry: dict[str, Any], *, is_form: bool, place: str) -> dict[str, Any]:
    """Return an error of pydantic as FastAPI shows it. Missing form fields and parameters have no input; long ones are
    cut."""
    is_missing = entry["type"] == "missing" and (is_form or place == "query")
    shown = {**entry, "loc": [place, *entry["loc"]], "input": None if is_missing else abbreviate_value(entry["input"])}
    if "error" in shown.get("ctx", {}):
        shown["ctx"] = {"error": {}}
    return shown


def abbreviate_value(value: Any) -> Any:
    """Return a JSON value with long texts cut, such as images in base64; a file by its name."""
    match value:
        case str():
            return value if len(value) <= MAX_QUOTED_CHARACTERS else f"{value[:MAX_QUOTED_CHARACTERS]}…"
        case dict():
            return {name: abbreviate_value(entry) for name, entry in value.items()}
        case list():
            return [abbreviate_value(entry) for entry in value]
        case UploadedFile():
            return value.name
    return value


def render_error(error: ApiError) -> HttpResponse:
    """Return `{"detail"}` with the list of an InvalidBody, the list for malformed JSON, or the message of any other
    error."""
    if isinstance(error.cause, InvalidBody):
        return json_response({"detail": error.cause.details}, status=422)
    if isinstance(error.cause, ParseError) and isinstance(error.cause.__cause__, ValueError):
        return json_response({"detail": [describe_malformed_json(error.cause.__cause__)]}, status=422)
    body = {"detail": REASONS.get(error.code, error.message)}
    return json_response(body, status=error.status, headers=error.headers)


def render_http_exception(error: ApiError, *, kind: str = "HTTPException") -> HttpResponse:
    """Return an error as the middleware of AUTOMATIC1111 and IOPaint answers it; `errors` is what clients show."""
    body = {"error": kind, "detail": error.message, "body": "", "errors": error.message}
    return json_response(body, status=error.status, headers=error.headers)


def describe_malformed_json(error: ValueError) -> dict[str, Any]:
    """Return the entry for a body that cannot be read, also for one that is no object or holds NaN."""
    position, reason = (error.pos, error.msg) if isinstance(error, json.JSONDecodeError) else (0, str(error))
    return {
        "type": "json_invalid",
        "loc": ["body", position],
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": reason},
    }
