"""Generations that their caller ends by another request, such as `interrupt`."""

from __future__ import annotations

from inpainting.models import Generation

CONTROL = "control"
"""The entry of a generation's service_data for the action that ended it."""


def end(generation: Generation, action: str) -> bool:
    """Cancel a generation. False if it has ended. The action is stored before it ends: its response is then rendered,
    and differs from that of a generation which was cancelled otherwise."""
    data = {**generation.service_data, CONTROL: action}
    Generation.objects.filter(pk=generation.pk, finished_at=None).update(service_data=data)
    return generation.cancel()
