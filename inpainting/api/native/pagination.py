"""Pagination of the lists."""

from __future__ import annotations

from typing import Any

from django.core.paginator import EmptyPage, Paginator
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from inpainting.api.native.schemas.base import Page

MAX_PAGE_SIZE = 100
MAX_PAGE = 10**9


class PageQuery(serializers.Serializer):
    """The query parameters of a list."""

    page = serializers.IntegerField(default=1, min_value=1, max_value=MAX_PAGE)
    page_size = serializers.IntegerField(default=24, min_value=1, max_value=MAX_PAGE_SIZE)


def read_query(request: Request, serializer_class: type[serializers.Serializer] = PageQuery) -> dict[str, Any]:
    """The validated query parameters. Raises DRF's ValidationError."""
    query = serializer_class(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    validated: dict[str, Any] = query.validated_data
    return validated


def render_page(schema: type[Page], rows: QuerySet[Any], query: dict[str, Any], request: Request) -> dict[str, Any]:
    """The requested page of the rows, with the request as context. Raises NotFound for a page after the last."""
    paginator = Paginator(rows, query["page_size"])
    try:
        page = paginator.page(query["page"])
    except EmptyPage as error:
        raise NotFound(f"There is no page {query['page']}; the last is {paginator.num_pages}.") from error
    url = request.build_absolute_uri()
    values = {
        "count": paginator.count,
        "next": replace_query_param(url, "page", page.next_page_number()) if page.has_next() else None,
        "previous": replace_query_param(url, "page", page.previous_page_number()) if page.has_previous() else None,
        "results": list(page),
    }
    return schema.render(values, request=request)
