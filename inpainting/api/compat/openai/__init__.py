"""OpenAI's image API (https://platform.openai.com/docs/api-reference/images): edits, generations, list of models."""

from inpainting.api.compat.openai.dialect import DIALECT

__all__ = ["DIALECT"]
