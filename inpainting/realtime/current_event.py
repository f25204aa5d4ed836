"""The event that describes a generation's current state: the first message to a client that connects."""

from __future__ import annotations

from inpainting.models import Generation, Status
from inpainting.realtime import events
from inpainting.worker.run_time_estimates import QueuePosition, remaining_seconds


def current_event(generation: Generation, place: QueuePosition | None) -> events.GenerationEvent:
    """Return the event of the current state.

    place: position in the queue, or None if it is not known or not queued.
    """
    match generation.status:
        case Status.RUNNING:
            return progress_event(generation) or events.running()
        case Status.SUCCEEDED:
            return events.succeeded()
        case Status.FAILED:
            return events.failed(code=generation.error_code, message=generation.error_message)
        case Status.CANCELLED:
            return events.cancelled()
    return make_queued_event(place)


def make_queued_event(place: QueuePosition | None) -> events.GenerationEvent:
    if place is None:
        return events.queued()
    return events.queued(place.position, place.eta, is_minimum=place.is_minimum)


def progress_event(generation: Generation) -> events.GenerationEvent | None:
    """Return the progress of a running or ended generation; None before the first step."""
    if not generation.steps:
        return None
    return events.progress(generation.step, generation.steps, seconds_left=remaining_seconds(generation))
