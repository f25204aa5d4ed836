"""Find the object of an analysis in its image, or describe the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from inpainting.accounting.limits import check_upload
from inpainting.captioning import CaptionStyle, describe_colours, find_captioner
from inpainting.core.codecs import STORED_LIMITS, decode_image, encode_png
from inpainting.core.errors import InvalidImage
from inpainting.core.image import CanonicalImage
from inpainting.core.sentences import sentence
from inpainting.keepalive import run_in_thread
from inpainting.media.recent_images import recent_image
from inpainting.models import Analysis, AnalysisMask, UploadedImage
from inpainting.models.analysis import Task, mask_values
from inpainting.models.images import StoredImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, candidates_of, load_models_of

Result = TypeVar("Result")


@dataclass(slots=True)
class AnalysisResult:
    """The arguments of `Analysis.succeed`; the files are written, the rows are not saved yet."""

    masks: list[AnalysisMask] = field(default_factory=list)
    stored: UploadedImage | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> list[StoredImage]:
        return [*self.masks, *([] if self.stored is None else [self.stored])]


def analyse(analysis: Analysis, findings: AnalysisResult, renew_lease: Callable[[], None]) -> None:
    """Add what is found to `findings`, file by file, so that the caller can delete them.

    renew_lease: called meanwhile; for a model or an image that takes longer than a minute or two it ends.
    Raises what segmenters, captioners, the storage and `renew_lease` raise.
    """
    image = _beside(partial(read_image, analysis), renew_lease)
    if analysis.task == Task.CAPTION:
        describe(analysis, image, findings, renew_lease)
        return
    segmenter, selection = registry.find(analysis.model), analysis.selection
    _beside(partial(load_models_of, segmenter, selection), renew_lease)
    candidates = _beside(partial(candidates_of, segmenter, image, selection), renew_lease)
    _beside(partial(store, analysis, candidates, findings), renew_lease)


def describe(
    analysis: Analysis, image: CanonicalImage, findings: AnalysisResult, renew_lease: Callable[[], None]
) -> None:
    captioner, style = find_captioner(), CaptionStyle(analysis.options["style"])
    if captioner is None:
        caption = describe_colours(image, style)
    else:
        _beside(captioner.loaded, renew_lease)
        caption = _beside(partial(captioner.describe, image, style), renew_lease)
    findings.values = {"caption": caption.text, "model": caption.captioner}


def read_image(analysis: Analysis) -> CanonicalImage:
    """The image as it was sent, decoded. Raises InvalidImage, `image_gone`, where its file is gone."""

    def decode() -> CanonicalImage:
        with analysis.file.open("rb") as file:
            return decode_image(file.read(), limits=STORED_LIMITS).image

    try:
        return recent_image(analysis.sha256, decode)
    except FileNotFoundError as error:
        message = sentence("The image of this analysis is gone; send it again.")
        raise InvalidImage(message, code="image_gone", field="image") from error


def store(analysis: Analysis, candidates: Sequence[Candidate], findings: AnalysisResult) -> None:
    """Write the masks to storage, and the best one again as an image of the owner where that is requested."""
    for index, candidate in enumerate(candidates):
        mask = AnalysisMask(analysis=analysis, index=index, score=candidate.score)
        findings.masks.append(mask)
        image = CanonicalImage.of_mask(candidate.mask)
        png = encode_png(image)
        mask.write(png, image)
        if index == 0 and analysis.stores_mask and candidate.mask.any():
            expires_at = timezone.now() + timedelta(hours=settings.RESULT_LINK_HOURS)
            found = mask_values(candidate, analysis.model)
            findings.stored = UploadedImage(owner_id=analysis.owner_id, expires_at=expires_at, found=found)
            findings.stored.write(png, image)


def commit(analysis: Analysis, findings: AnalysisResult) -> bool:
    """Save what was found. False as of `Analysis.succeed`. Raises LimitReached where the owner has too many masks."""
    with transaction.atomic():
        if findings.stored is not None:
            check_upload(findings.stored)
        return analysis.succeed(findings.masks, stored=findings.stored, **findings.values)


def _beside(work: Callable[[], Result], renew_lease: Callable[[], None]) -> Result:
    """Run `work` on another thread, whose database connections are closed at its end."""

    def work_and_close() -> Result:
        try:
            return work()
        finally:
            connections.close_all()

    return run_in_thread(work_and_close, renew_lease)
