"""`Answer`: a serializer that renders an answer of the API from the fields that document it; and bodies with null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import get_attribute


class NullIsEmpty(serializers.Serializer):
    """A JSON body in which null is the same as a field that is sent empty in a form, see `read_body`."""

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        for field in fields.values():
            field.allow_null = True
        return fields


class Answer(serializers.Serializer):
    """An object of an answer.

    The value of a field is `get_<field>(instance)` where the serializer has such a method, otherwise the attribute or
    key of that name (or of the field's `source`). A field with `required=False` is left out where its value is None or
    missing; any other missing value is an error.
    """

    @classmethod
    def render(cls, instance: Any, **context: Any) -> dict[str, Any]:
        return cls(context=context).to_representation(instance)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        values = ((field, self.value_of(field, instance)) for field in self.fields.values())
        return {
            str(field.field_name): None if value is None else field.to_representation(value)
            for field, value in values
            if field.required or value is not None
        }

    def value_of(self, field: serializers.Field, instance: Any) -> Any:
        if isinstance(field, Constant):
            return field.value
        if isinstance(field, Link):
            return reverse(field.route, args=[instance.pk])
        method = getattr(self, f"get_{field.field_name}", None)
        if method is not None:
            return method(instance)
        try:
            return get_attribute(instance, field.source_attrs)
        except (AttributeError, KeyError):
            if field.required:
                raise
            return None


class Constant(serializers.ChoiceField):
    """A text that is always the same, such as `"status": "success"`."""

    def __init__(self, value: str) -> None:
        super().__init__([value])
        self.value = value


class Link(serializers.CharField):
    """The path of the row's own URL, by the name of its route."""

    def __init__(self, route: str, **options: Any) -> None:
        super().__init__(**options)
        self.route = route


class UtcDateTime(serializers.DateTimeField):
    """A time, which the JSON encoder writes in ISO 8601 with the time zone of the value."""

    def to_representation(self, value: datetime) -> datetime:  # type: ignore[override]
        return value


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string"}]})
class NumberOrText(serializers.Field):
    def to_representation(self, value: float | str) -> float | str:
        return value


@extend_schema_field({"type": "object", "additionalProperties": True})
class FreeObject(serializers.Field):
    """An object whose keys vary."""

    def to_representation(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        return value


class Page(Answer):
    """One page of a list. Subclasses add `results`."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class Problem(Answer):
    """Every error."""

    status = Constant("error")
    message = serializers.CharField(help_text="A sentence for people.")
    code = serializers.CharField(help_text="A stable code for programs.")
    field = serializers.CharField(required=False, help_text="The field that is wrong.")
    limit = NumberOrText(required=False, help_text="The allowed value.")
    actual = NumberOrText(required=False, help_text="The value that was sent.")
    id = serializers.UUIDField(
        source="generation_id", required=False, help_text="The generation that failed or was cancelled."
    )
