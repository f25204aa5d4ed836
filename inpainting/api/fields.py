"""The fields of bodies and queries: pydantic's types with checks of our own, and the errors of the native API."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, PydanticKnownError
from pydantic_core.core_schema import with_info_after_validator_function

from inpainting.api.errors import MAX_QUOTED_CHARACTERS
from inpainting.api.parsers import JSON_VALUES, whole_number
from inpainting.core.errors import InvalidRequest, as_field
from inpainting.core.sentences import Sentence, mark, sentence
from inpainting.core.validation import abbreviate, check_range, check_text

BLANK, IMAGE_TYPE = mark("This field may not be blank."), mark("It must be a URL or base64.")
PROBLEMS = {
    "int": mark("A valid integer is required."),
    "float": mark("A valid number is required."),
    "finite_number": mark("A valid number is required."),
    "bool": mark("Must be a valid boolean."),
    "uuid": mark("Must be a valid UUID."),
    "datetime": mark(
        "Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
    ),
    "string": mark("Not a valid string."),
    **dict.fromkeys(("string_too_short", "blank"), BLANK),
    "image_type": IMAGE_TYPE,
    "string_too_long": mark("Ensure this field has no more than {max_length} characters."),
    "string_pattern_mismatch": mark("This value does not match the required pattern."),
    "literal_error": mark('"{input}" is not a valid choice.'),
    "enum": mark('"{input}" is not a valid choice.'),
    "list_type": mark("Expected a list of items."),
    **dict.fromkeys(("dict_type", "model_type"), mark("Expected an object.")),
    "too_long": mark("Ensure this field is no longer than {max_length}."),
    "greater_than_equal": mark("Ensure this value is greater than or equal to {ge}."),
    "less_than_equal": mark("Ensure this value is less than or equal to {le}."),
}
"""The types of pydantic's errors, or their first words -> what is wrong, in the words of the native API."""

PROBLEMS_OF_ENTRIES = {
    **dict.fromkeys(("float_type", "finite_number"), mark("must be a number")),
    "string_type": mark("must be a text"),
    "model_type": mark("must be an object"),
    "extra_forbidden": mark("is not known"),
    "missing": mark("is missing"),
}
"""The same for the entries of lists and objects."""


class Fields(BaseModel):
    """Base class of the fields of a body or a query. null is the same as a field that is not sent."""

    model_config = ConfigDict(allow_inf_nan=False)
    documents_null: ClassVar[bool] = False
    """Whether the OpenAPI document says that fields may be null."""

    @classmethod
    def read(cls, fields: Mapping[str, Any], *, clamped: list[str] | None = None) -> Self:
        """Validate fields. clamped: where it is given, numbers outside their range are moved to the nearest limit,
        and warnings about them are added to it.

        Raises InvalidRequest for the first field that is invalid.
        """
        try:
            sent = {name: value for name, value in fields.items() if value is not None}
            return cls.model_validate(sent, context=clamped)
        except ValidationError as error:
            raise refusal(error.errors(include_url=False)[0]) from error

    def sent(self) -> dict[str, Any]:
        """The fields that were sent, and those with a default; of an object its fields alike."""
        return {
            name: value.sent() if isinstance(value, Fields) else value
            for name, value in self
            if value is not None or name in self.model_fields_set
        }


FieldsType = TypeVar("FieldsType", bound=Fields)
ModelType = TypeVar("ModelType", bound=BaseModel)


def extended_by(fields: dict[str, Any]) -> Callable[[type[ModelType]], type[ModelType]]:
    """A decorator that adds fields to a model. fields: name -> type and `Field`."""

    def extend(model: type[ModelType]) -> type[ModelType]:
        inherited: dict[str, Any] = {"__base__": model, "__doc__": model.__doc__, "__module__": model.__module__}
        return create_model(model.__name__, **inherited, **fields)

    return extend


def refusal(error: ErrorDetails) -> InvalidRequest:
    """The error of the native API for one of pydantic's."""
    name, kind = str(error["loc"][0]), error["type"]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"])[1:]
    if len(error["loc"]) > 1 and (of_entry := PROBLEMS_OF_ENTRIES.get(kind)):
        return InvalidRequest(sentence("{place} {problem}.", place=place, problem=Sentence(of_entry)), field=name)
    if kind == "missing":
        return InvalidRequest(f"Missing required field: {name}", code="field_missing", field=name)
    template = PROBLEMS.get(kind) or PROBLEMS.get(kind.partition("_")[0])
    problem: str = error["msg"]
    if template:
        problem = Sentence(template, None, {"input": error["input"], **error.get("ctx", {})})
    if len(problem) > MAX_QUOTED_CHARACTERS:
        problem = problem[:MAX_QUOTED_CHARACTERS]
    return InvalidRequest(sentence("{name}: {problem}", name=name, problem=problem), field=name)


def refuse_boolean(value: Any, kind: Literal["int_type", "float_type"]) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError(kind)
    return value


NotBoolean = BeforeValidator(partial(refuse_boolean, kind="int_type"))
Integer = Annotated[int, NotBoolean]
"""A whole number. Booleans and fractions are refused."""
Number = Annotated[float, BeforeValidator(partial(refuse_boolean, kind="float_type"))]
"""A finite number. Booleans are refused."""


def refuse_unstorable(text: str, info: ValidationInfo) -> str:
    check_text(str(info.field_name), text, len(text))
    return text


StoredText = Annotated[
    str,
    Field(coerce_numbers_to_str=True),
    StringConstraints(strip_whitespace=True),
    AfterValidator(refuse_unstorable),
]
"""A text, or a number in its place, without characters that a database cannot hold."""


def read_image_text(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("image_type", IMAGE_TYPE)
    return value


ImageText = Annotated[str, PlainValidator(read_image_text)]
"""A URL, base64 or a data URL. A `str` of pydantic would examine each of its millions of characters."""


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """Base class of annotations that check a value that pydantic has read, by the name of its field.

    None equals another: `typing` would use the first `Annotated` for all with equal arguments, and 0 equals 0.0.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_info_after_validator_function(self.check, handler(source))

    def check(self, value: Any, info: ValidationInfo) -> Any:
        raise NotImplementedError


def clamp(place: str, value: float, lowest: float, highest: float, warnings: list[str]) -> float:
    """Return the nearest number in a range. Where that is another one, a warning is added."""
    nearest = min(max(value, lowest), highest)
    if nearest != value:
        warnings.append(
            sentence("{place} was {value}; {nearest} was used.", place=place, value=abbreviate(value), nearest=nearest)
        )
    return nearest


@dataclass(frozen=True, slots=True, eq=False)
class Range(Check):
    """The lowest and the highest number. Others are refused with the limit, or clamped, see `Fields.read`."""

    lowest: float = -math.inf
    highest: float = math.inf

    def check(self, value: float, info: ValidationInfo) -> float:
        if info.context is None:
            check_range(str(info.field_name), value, self.lowest, self.highest)
            return value
        return clamp(str(info.field_name), value, self.lowest, self.highest, info.context)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        limits = {"minimum": self.lowest, "maximum": self.highest}
        return {**handler(schema), **{name: limit for name, limit in limits.items() if math.isfinite(limit)}}


@dataclass(frozen=True, slots=True, eq=False)
class Length(Check):
    """The length of a text. The error for one that is too long reports it."""

    highest: int
    may_be_blank: bool = False
    is_stripped: bool = True

    def check(self, value: str, info: ValidationInfo) -> str:
        check_text(str(info.field_name), value, self.highest)
        value = value.strip() if self.is_stripped else value
        if not (value or self.may_be_blank):
            raise PydanticCustomError("blank", BLANK)
        return value

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "maxLength": self.highest}


def parse_json(value: Any, info: ValidationInfo) -> Any:
    """The value of a form field that holds JSON, of as many values as a JSON body. Its texts may not be Unicode."""
    if not isinstance(value, str):
        return value
    JSON_VALUES.count(value)
    try:
        return json.loads(value, parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            sentence("{field_name} is not JSON.", field_name=info.field_name), field=info.field_name
        ) from error


def parse_json_after(bracket: str) -> BeforeValidator:
    """Parse texts that begin with this bracket as JSON; others are values themselves."""

    def parse(value: Any, info: ValidationInfo) -> Any:
        return parse_json(value, info) if isinstance(value, str) and value.lstrip().startswith(bracket) else value

    return BeforeValidator(parse)


FromJson = BeforeValidator(parse_json)
"""Of lists and objects, which forms send as JSON text."""


def name_field(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    with as_field(str(info.field_name)):
        return handler(value)


ErrorsNameTheField = WrapValidator(name_field)
"""Of an object: errors of its parts name the field that holds it."""
