"""Lists of Django's for tables that grow with the use of the site."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.utils.functional import cached_property

MAX_COUNTED = 10_000
"""Rows that a list counts and has pages for. Filters and searches lead to older ones."""


class NewestPaginator(Paginator):
    @cached_property
    def count(self) -> int:
        """The number of rows, at most MAX_COUNTED: to count all would read the whole table."""
        rows: Any = self.object_list
        return int(rows[:MAX_COUNTED].count())


class LargeListAdmin(admin.ModelAdmin):
    """A list, newest first, that takes as long however many rows there are."""

    paginator: ClassVar[type[Paginator]] = NewestPaginator
    show_full_result_count = False
