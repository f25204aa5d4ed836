"""Queries that are compiled once. Where every request makes a query, compiling it takes longer than executing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models, transaction
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

Row = TypeVar("Row", bound=models.Model)


class Parameter(models.Expression):
    """In a CompiledQuery or CompiledUpdate: a value that each execution gives. field: converts it for the database."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        return "%s", (self,)

    def value_in(self, values: Mapping[str, Any]) -> Any:
        return self.output_field.get_db_prep_value(values[self.name], connection)


@dataclass(frozen=True, slots=True)
class Statement:
    """converters: of the columns that the database does not return as Python values, by their index."""

    sql: str
    parameters: Sequence[Any]
    converters: Mapping[int, tuple[Sequence[Callable[..., Any]], Any]]

    def given(self, values: Mapping[str, Any]) -> list[Any]:
        """The parameters of one execution."""
        return [part.value_in(values) if isinstance(part, Parameter) else part for part in self.parameters]


class CompiledQuery(Generic[Row]):
    """A query set that is made and compiled at its first execution."""

    def __init__(self, build: Callable[[], models.QuerySet[Row, Any]]) -> None:
        self._build = build

    def rows(self, **values: Any) -> list[Sequence[Any]]:
        """The rows of a query set of `values_list`. values: of the parameters, by their names."""
        statement = self._statement
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, statement.given(values))
            rows: list[Sequence[Any]] = cursor.fetchall()
        return [self._convert(row) for row in rows] if statement.converters else rows

    def instances(self, **values: Any) -> list[Row]:
        """The rows of a query set of whole rows, without related ones."""
        model = self._model
        names = [field.attname for field in model._meta.concrete_fields]
        return [model.from_db(DEFAULT_DB_ALIAS, names, row) for row in self.rows(**values)]

    def _convert(self, row: Sequence[Any]) -> Sequence[Any]:
        converted = list(row)
        for index, (converters, expression) in self._statement.converters.items():
            for convert in converters:
                converted[index] = convert(converted[index], expression, connection)
        return converted

    @cached_property
    def _model(self) -> type[Row]:
        return self._build().model

    @cached_property
    def _statement(self) -> Statement:
        compiler = self._build().query.get_compiler(DEFAULT_DB_ALIAS)
        sql, parameters = compiler.as_sql()
        converters = compiler.get_converters([expression for expression, *_ in compiler.select])
        return Statement(sql, parameters, converters)


class CompiledUpdate:
    """`QuerySet.update`, compiled at its first execution. changes: values of the fields, which may be Parameters."""

    def __init__(self, build: Callable[[], models.QuerySet[Any, Any]], **changes: Any) -> None:
        self._build, self._changes = build, changes

    def execute(self, **values: Any) -> int:
        """Update the rows and return their number. values: of the parameters, by their names."""
        statement = self._statement
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, statement.given(values))
            changed: int = cursor.rowcount
        return changed

    @cached_property
    def _statement(self) -> Statement:
        query: UpdateQuery = self._build().query.chain(klass=UpdateQuery)  # type: ignore[assignment]  # of that class
        query.add_update_values(self._changes)
        sql, parameters = query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
        return Statement(sql, parameters, {})


@contextmanager
def ordered_by_index() -> Iterator[None]:
    """A transaction whose queries read the first rows of an order from an index, and do not sort all rows for them.

    The planner of PostgreSQL sorts where it expects few rows, as counted by the last ANALYZE. Autovacuum starts one
    after a tenth of the table has changed: of a million generations 100,000 may wait by then, and sorting them takes
    half a second. Not for queries whose order no index has: they would read an index of the whole table.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        # An incremental sort reads all rows of an index that has the order's first columns alone.
        cursor.execute("SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off")
        yield
        cursor.execute("SET LOCAL enable_sort = on; SET LOCAL enable_incremental_sort = on")
