"""Progress of running work: the recorded steps, which renew its lease and notice that it was cancelled."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from functools import cached_property

from django.db import close_old_connections

from accounts.outages import DATABASE_ERRORS, is_outage
from inpainting.core.codecs import thumbnail_webp
from inpainting.core.errors import Cancelled
from inpainting.core.image import CanonicalImage
from inpainting.engines.base import Step
from inpainting.models import Generation
from inpainting.models.queued_work import QueuedWork
from inpainting.realtime import events
from inpainting.worker.run_time_estimates import StepPace, expected_seconds
from inpainting.worker.watchdog import Heartbeat

logger = logging.getLogger(__name__)

PROGRESS_EVERY_SECONDS = 0.2
"""The interval between recorded steps, and so the delay until a cancellation is noticed."""
PREVIEW_SIDE = 256
"""Pixels of a preview's longer side, at most."""


class LeaseRenewal:
    """Renews the lease of running work, at most every PROGRESS_EVERY_SECONDS."""

    def __init__(self, work: QueuedWork, watch: Heartbeat) -> None:
        self.work, self.watch, self.last_written = work, watch, 0.0

    def renew_lease(self) -> None:
        """Raises Cancelled if the work was cancelled or another worker holds it."""
        self.watch.beat()
        if self.is_due():
            self.record(lambda: self.work.advance(self.work.step, self.work.steps))

    def is_due(self) -> bool:
        return time.monotonic() - self.last_written >= PROGRESS_EVERY_SECONDS

    def record(self, advance: Callable[[], bool]) -> bool:
        """Record progress. False while the database does not answer: results are committed with retries, so that does
        not matter. Raises Cancelled if `advance` returns False."""
        self.last_written = time.monotonic()
        try:
            still_held = advance()
        except DATABASE_ERRORS as error:
            if not is_outage(error):
                raise
            logger.warning("The database does not answer while %s runs", self.work, exc_info=True)
            close_old_connections()
            return False
        if not still_held:
            raise Cancelled
        return True


class Reporter(LeaseRenewal):
    """Records the steps of a generation, and stops the engine once the lease is lost."""

    def __init__(
        self, generation: Generation, watch: Heartbeat, *, icc_profile: bytes | None = None, shows_previews: bool = True
    ) -> None:
        """icc_profile: of the previews. shows_previews: False if a safety checker examines the results."""
        super().__init__(generation, watch)
        self.generation = generation
        self.icc_profile = icc_profile
        self.shows_previews = shows_previews
        self.started = time.monotonic()
        self.pace = StepPace()
        self.shown: Step | None = None

    def __call__(self, step: Step) -> None:
        self.watch.beat()
        self.pace.record(time.monotonic(), step.done)
        if step.preview is not None and self.shows_previews:
            self.shown = step  # kept until a step is recorded: engines do not send a preview with every step
        is_the_end = step.done >= step.of and (step.done, step.of) != (self.generation.step, self.generation.steps)
        is_the_first = step.done > 0 and not self.generation.step  # from which a crash counts
        if (self.is_due() or is_the_first or is_the_end) and self.record(lambda: self.advance(step)):
            self.shown = None

    def renew_lease(self) -> None:
        """Renew the lease between results, where no step is done. Raises Cancelled as a step does."""
        self(Step(self.generation.step, self.generation.steps))

    def advance(self, step: Step) -> bool:
        preview = encode_preview(self.shown, self.icc_profile) if self.shown else None
        loading = events.loading(step.loading.label, step.loading.byte_count) if step.loading else None
        return self.generation.advance(
            step.done, step.of, seconds_left=self.seconds_left(step), preview=preview, loading=loading
        )

    def seconds_left(self, step: Step) -> float | None:
        """Estimated by the pace of this run, and before its third step by earlier ones; None without either."""
        by_pace = self.pace.seconds_left(step.done, step.of)
        if by_pace is not None or self.expected_seconds is None:
            return by_pace
        return round(max(0.0, self.expected_seconds - (time.monotonic() - self.started)), 1)

    @cached_property
    def expected_seconds(self) -> float | None:
        return expected_seconds(self.generation)


def encode_preview(step: Step, icc_profile: bytes | None) -> events.StepPreview | None:
    """The preview of a step as sent to listeners; None if it has none."""
    if step.preview is None or step.box is None:
        return None
    image = thumbnail_webp(CanonicalImage(step.preview, icc_profile), side=PREVIEW_SIDE)
    box = step.box
    return {
        "url": "data:image/webp;base64," + base64.b64encode(image).decode(),
        "box": box.to_list(),
    }
