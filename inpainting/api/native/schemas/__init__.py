"""The JSON of the native API. Each answer is one serializer, which both renders it and documents it in OpenAPI."""
