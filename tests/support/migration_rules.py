"""What a migration may do while the previous version still serves: CONTRIBUTING.md states the rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations as ops
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import resolve_relation
from django.db.models import NOT_PROVIDED, Field, ForeignKey

HARMLESS = (
    ops.CreateModel,
    ops.AddIndex,
    ops.RemoveIndex,
    ops.RenameIndex,
    ops.RemoveConstraint,
    ops.AlterModelOptions,
    ops.AlterModelManagers,
)


def problems(operation: Operation, app: str, before: ProjectState, released: ProjectState) -> Iterator[str]:
    """Why code that knows the schema `released` could fail after the operation.

    before: the state that the operation changes. Tables that are newer than `released` are not checked.
    """
    if isinstance(operation, ops.SeparateDatabaseAndState):
        for inner in operation.database_operations:
            yield from problems(inner, app, before, released)
        return
    yield from constrained_keys(operation, app, released)
    model = getattr(operation, "model_name_lower", None) or getattr(operation, "name_lower", None)
    if isinstance(operation, HARMLESS) or (model is not None and (app, model) not in released.models):
        return
    match operation:
        case ops.AddField(field=field) if field.many_to_many or field.null or has_default(field):
            return
        case ops.AddField():
            yield "NOT NULL without a db_default: an INSERT that does not name the column fails"
        case ops.AlterField():
            old = before.models[app, operation.model_name_lower].fields[operation.name]
            yield from narrower(old, operation.field, operation.name)
        case ops.RenameField():
            old = before.models[app, operation.model_name_lower].fields[operation.old_name]
            if old.db_column is None:
                yield "the previous version reads the column by its old name"
        case _:
            yield "not known to be harmless"


def constrained_keys(operation: Operation, app: str, released: ProjectState) -> Iterator[str]:
    """The foreign keys of a table that is newer than `released`, by which the database refuses its deletions."""
    match operation:
        case ops.CreateModel():
            fields = operation.fields
        case ops.AddField() if (app, operation.model_name_lower) not in released.models:
            fields = [(operation.name, operation.field)]
        case _:
            return
    for name, field in fields:
        if isinstance(field, ForeignKey) and field.db_constraint:  # type: ignore[attr-defined]  # not in the stubs
            target = resolve_relation(field.remote_field.model, app)
            if target in released.models:
                yield f"{name} without db_constraint=False: no row of {'.'.join(target)} can be deleted"


def has_default(field: Field[Any, Any]) -> bool:
    return field.db_default is not NOT_PROVIDED


def narrower(old: Field[Any, Any], new: Field[Any, Any], name: str) -> Iterator[str]:
    """How a column of fewer values refuses what was written before."""
    if old.null and not new.null:
        yield "NOT NULL: an INSERT of NULL fails"
    if has_default(old) and not has_default(new):
        yield "loses its db_default: an INSERT that does not name the column fails"
    if new.unique and not old.unique:
        yield "becomes unique"
    if old.get_internal_type() != new.get_internal_type():
        yield "changes its type"
    if (old.db_column or name) != (new.db_column or name):
        yield "changes its column's name"
    longest, was = (field.max_length or float("inf") for field in (new, old))
    if longest < was:
        yield "becomes shorter"
