"""Where objects are selected: in the request's thread, or as an analysis in a worker.

A click on a photo is answered in the request's thread: as an analysis it takes more than 30 ms longer, because its
image and its masks are written to storage and read again (see docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from django.conf import settings
from rest_framework.request import Request

from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.images import IMAGE, ImageRole, SentImage
from inpainting.api.later_response import has_disconnected
from inpainting.api.recent_images import read_recent
from inpainting.segmenters.base import Candidate, LoadsModel, Segmenter, Selection, candidates_of, load_models_of

Result = TypeVar("Result")


def needs_worker(segmenter: Segmenter) -> bool:
    """Whether only a worker can select with this segmenter: a web process of its own (role `web`) loads no model."""
    return isinstance(segmenter, LoadsModel) and settings.ROLE == "web"


def select_here(
    segmenter: Segmenter,
    selection: Selection,
    sent: SentImage,
    request: Request,
    render: Callable[[Sequence[Candidate]], Result],
    *,
    role: ImageRole = IMAGE,
) -> Result:
    """Select in this thread. Returns what `render` returns for the masks, the best one first; it may encode them.

    Raises what `read_recent`, `computing` and the segmenter raise, and LimitReached where the user selects too many
    objects at the same time.
    """
    has_left = partial(has_disconnected, request)
    with limit_segmentations(request.user, has_left):
        image = read_recent(sent, request, role).image
        load_models_of(segmenter, selection)
        with computing(request.user, has_left):
            return render(candidates_of(segmenter, image, selection))
