"""The words of the pages for the state of a generation or of an item of a batch."""

from __future__ import annotations

from inpainting.models import Status
from inpainting.models.batch import DELETED, REFUSED

STATE_LABELS: dict[str, str] = {
    Status.SUCCEEDED: "Finished",
    Status.RUNNING: "Being painted",
    Status.QUEUED: "Waiting",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
    REFUSED: "Refused",
    DELETED: "Deleted",
}
