"""Search in the caller's generations by status, engine, service, dates, words of the prompt and edit tree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

from inpainting.api.fields import StoredText
from inpainting.api.native.pagination import PageQuery
from inpainting.generations.edit_tree import in_tree
from inpainting.generations.search import search as filtered
from inpainting.models import Generation, Status


def read_time(text: object) -> datetime:
    """A time in ISO 8601; UTC without a time zone. pydantic would also read numbers, as seconds."""
    try:
        time = datetime.fromisoformat(str(text))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise PydanticKnownError("datetime_parsing", {"error": str(error)}) from error


Time = Annotated[datetime, PlainValidator(read_time), WithJsonSchema({"type": "string", "format": "date-time"})]


class HistoryQuery(PageQuery):
    """The query parameters. Results contain every word of `prompt`, in any order."""

    status: Status | None = None
    engine: Annotated[StoredText, Field(min_length=1, max_length=60)] | None = None
    service: Annotated[StoredText, Field(min_length=1, max_length=20)] | None = Field(
        None, description="native, or the name of a service."
    )
    created_after: Time | None = Field(None, description="ISO 8601; UTC without a time zone.")
    created_before: Time | None = Field(None, description="ISO 8601; UTC without a time zone.")
    prompt: Annotated[StoredText, Field(max_length=300)] | None = Field(
        None,
        description="Words of the prompt, without regard to case and accents. Words of one or two letters alone are "
        "searched for in your newest 10,000 generations.",
    )
    tree: UUID | None = Field(None, description="A generation: all of its edit tree, from the root on.")


def is_everything(query: HistoryQuery) -> bool:
    """Return whether nothing is searched for."""
    return not query.sent().keys() - PageQuery.model_fields.keys()


def search(generations: QuerySet[Generation], query: HistoryQuery, *, owner: int | None) -> QuerySet[Generation]:
    sent = query.sent()
    exact: dict[str, Any] = {name: sent[name] for name in ("status", "engine", "service") if name in sent}
    others = {name: sent[name] for name in ("created_after", "created_before", "prompt") if name in sent}
    found = filtered(generations, owner=owner, exact=exact, **others)
    return found.filter(in_tree(query.tree)) if query.tree else found
