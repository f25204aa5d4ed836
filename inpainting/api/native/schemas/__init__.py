"""The JSON of the native API: pydantic models, which check a body or render an answer, and document it in OpenAPI."""
