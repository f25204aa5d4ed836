"""Where objects are selected: in the request's thread, or as an analysis in a worker.

A click on a photo is answered in the request's thread: as an analysis it takes more than 30 ms longer, because its
image and its masks are written to storage and read again (see docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.api.analyses import accept, answer_later, candidates_found_by, ended_in_worker
from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.dialect import Dialect
from inpainting.api.images import IMAGE, NAMED_IMAGE, ImageRole, SentImage
from inpainting.api.later_response import has_disconnected
from inpainting.api.recent_images import read_recent
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.generations.analyses import AnalysedImage, AnalysisRequest
from inpainting.models.analysis import Task, selection_to_dict
from inpainting.segmenters.base import Candidate, LoadsModel, Segmenter, Selection, candidates_of, load_models_of

Result = TypeVar("Result")
SELECT_SECONDS = 15.0
"""How long a request that goes on with a mask waits for a worker's: it holds its turn meanwhile."""


def needs_worker(segmenter: Segmenter) -> bool:
    """Whether only a worker can select with this segmenter: a web process of its own (role `web`) loads no model."""
    return isinstance(segmenter, LoadsModel) and settings.ROLE == "web"


def respond_with_masks(
    segmenter: Segmenter,
    selection: Selection,
    sent: SentImage,
    request: Request,
    render: Callable[[Sequence[Candidate]], HttpResponseBase],
    *,
    role: ImageRole = NAMED_IMAGE,
    dialect: Dialect,
) -> HttpResponseBase:
    """Return the response with the masks of a selection, the best one first, which this thread or a worker finds.

    Raises what `select_here` and `submit_analysis` raise.
    """
    if not needs_worker(segmenter):
        return select_here(segmenter, selection, sent, request, render, role=role)
    read = read_recent(sent, request, role)
    accepted = accept(segment_request(request, segmenter, selection, read.image.size, service=dialect.name), read)
    return answer_later(accepted, request, dialect, lambda analysis: render(candidates_found_by(analysis)))


def segment_request(
    request: Request, segmenter: Segmenter, selection: Selection, size: Size, *, service: str
) -> AnalysisRequest:
    """Return the request to a worker. size: of the image. Raises InvalidRequest for a selection outside it."""
    options = selection_to_dict(selection.within(size))
    return AnalysisRequest(
        request.user, Task.SEGMENT, options, segmenter=segmenter.name, service=service, ends_with_response=True
    )


def select_at_once(
    segmenter: Segmenter, selection: Selection, image: CanonicalImage, request: Request, *, service: str
) -> Candidate:
    """Return the best mask of a selection to a request that goes on with it.

    A worker is waited for in this thread, for at most SELECT_SECONDS. Raises what `select_here` and `ended_in_worker`
    raise, also LimitReached where the user waits for too many selections at the same time.
    """
    if not needs_worker(segmenter):
        return select_in(segmenter, selection, lambda: image, request, lambda found: found[0])
    wanted = segment_request(request, segmenter, selection, image.size, service=service)
    has_left = partial(has_disconnected, request)
    with (
        limit_segmentations(request.user, has_left),
        ended_in_worker(wanted, AnalysedImage.of(image), seconds=SELECT_SECONDS) as done,
    ):
        return candidates_found_by(done)[0]


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
    return select_in(segmenter, selection, lambda: read_recent(sent, request, role).image, request, render)


def select_in(
    segmenter: Segmenter,
    selection: Selection,
    read: Callable[[], CanonicalImage],
    request: Request,
    render: Callable[[Sequence[Candidate]], Result],
) -> Result:
    """Do what `select_here` does, in the image that `read` returns."""
    has_left = partial(has_disconnected, request)
    with limit_segmentations(request.user, has_left):
        image = read()
        load_models_of(segmenter, selection)
        with computing(request.user, has_left):
            return render(candidates_of(segmenter, image, selection))
