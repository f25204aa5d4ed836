"""The JSON Schema of pydantic models, for the OpenAPI document and for the tools of agents."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema


class DocumentSchema(GenerateJsonSchema):
    """JSON Schema without titles, and without null as the default of fields that may be left out."""

    keeps_null = False

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Of an answer, all fields are but those that are left out where they are None."""
        in_answer = self.mode == "serialization"
        return "serialization_exclude_if" not in field if in_answer else super().field_is_required(field, total)

    def default_schema(self, schema: Any) -> dict[str, Any]:
        if schema.get("default", self) is not None:
            return super().default_schema(schema)
        inner = schema["schema"]
        return self.generate_inner(inner["schema"] if inner["type"] == "nullable" and not self.keeps_null else inner)


class DocumentSchemaWithNull(DocumentSchema):
    """The same for bodies in which null has a meaning."""

    keeps_null = True
