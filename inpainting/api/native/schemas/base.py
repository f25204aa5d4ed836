"""`Answer`: a model that renders an object of an answer of the API, and documents it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from django.core.paginator import Page as PageOfRows
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from rest_framework.utils.urls import replace_query_param

from inpainting.api.errors import ApiError
from inpainting.translation import translated

T = TypeVar("T")


def is_none(value: object) -> bool:
    return value is None


def optional(kind: Any, description: str) -> Any:
    """A field that is left out of the answer where it is None, for `extended_by`."""
    return kind | None, Field(None, description=description, exclude_if=is_none)


Optional = Annotated[T | None, Field(default=None, exclude_if=is_none)]
"""The same for a class."""
TextOrNull = Annotated[str | None, BeforeValidator(lambda text: text or None)]
"""null in place of an empty text."""


class Answer(BaseModel):
    """An object of an answer. The values are keywords, or the attributes or keys of an object, see `render`."""

    model_config = ConfigDict(
        from_attributes=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    @classmethod
    def render(cls, values: Any) -> dict[str, Any]:
        return cls.model_validate(values).model_dump()


class Page(Answer, Generic[T]):
    """One page of a list."""

    count: int
    next: str | None
    previous: str | None
    results: list[T]

    @classmethod
    def of(cls, page: PageOfRows[Any], url: str, make: Callable[[Any], T]) -> Self:
        """url: of this page. make: a result from a row."""
        return cls(
            count=page.paginator.count,
            next=replace_query_param(url, "page", page.next_page_number()) if page.has_next() else None,
            previous=replace_query_param(url, "page", page.previous_page_number()) if page.has_previous() else None,
            results=[make(row) for row in page],
        )


class Success(Answer):
    status: Literal["success"] = "success"


class ErrorDetails(Answer):
    message: str = Field(description="A sentence for people.")
    code: str = Field(description="A stable code for programs.")
    field: Optional[str] = Field(None, description="The field that is wrong.")
    limit: Optional[float | int | str] = Field(None, description="The allowed value.")
    actual: Optional[float | int | str] = Field(None, description="The value that was sent.")


class IsError(Answer):
    status: Literal["error"] = "error"


class Problem(ErrorDetails, IsError):
    """Every error."""

    id: Optional[UUID] = Field(None, description="The generation that failed or was cancelled.")

    @classmethod
    def of(cls, error: ApiError) -> Self:
        return cls(
            message=translated(error.message),
            code=error.code,
            field=error.field,
            limit=error.limit,
            actual=error.actual,
            id=error.generation_id,
        )
