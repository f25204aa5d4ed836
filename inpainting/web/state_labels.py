"""The words of the pages for the state of a generation or of an item of a batch."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy

from inpainting.models import Status
from inpainting.models.batch import DELETED, REFUSED

STATE_LABELS: dict[str, Promise] = {
    Status.SUCCEEDED: gettext_lazy("Finished"),
    Status.RUNNING: gettext_lazy("Being painted"),
    Status.QUEUED: pgettext_lazy("a generation", "Waiting"),
    Status.FAILED: pgettext_lazy("a generation", "Failed"),
    Status.CANCELLED: gettext_lazy("Cancelled"),
    REFUSED: gettext_lazy("Refused"),
    DELETED: gettext_lazy("Deleted"),
}
