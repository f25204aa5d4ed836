"""Pagination of the lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.paginator import EmptyPage, Paginator
from django.db.models import QuerySet
from django.utils.translation import gettext
from pydantic import Field
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from inpainting.api.fields import Fields, FieldsType
from inpainting.api.native.schemas.base import Page, T


class PageQuery(Fields):
    """The query parameters of a list."""

    page: int = Field(1, ge=1, le=10**9)
    page_size: int = Field(24, ge=1, le=100)


def read_query(request: Request, model: type[FieldsType] = PageQuery) -> FieldsType:  # type: ignore[assignment]
    """The query parameters. Raises InvalidRequest."""
    return model.read(request.query_params.dict())


def render_page(
    schema: type[Page[T]],
    rows: QuerySet[Any],
    query: PageQuery,
    request: Request,
    make: Callable[[Any], T],
    *,
    count: int | None = None,
) -> dict[str, Any]:
    """The requested page of the rows. Raises NotFound for a page after the last.

    make: a result from a row. count: the number of rows where it is known; otherwise they are counted.
    """
    paginator = Paginator(rows, query.page_size)
    if count is not None:
        paginator.count = count  # a cached property
    try:
        page = paginator.page(query.page)
    except EmptyPage as error:
        raise NotFound(
            gettext("There is no page {page}; the last is {last}.").format(page=query.page, last=paginator.num_pages)
        ) from error
    return schema.of(page, request.build_absolute_uri(), make).model_dump()
