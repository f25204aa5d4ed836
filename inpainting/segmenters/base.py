"""The segmenter interface: what a request says about the object, the declaration, and the method `segment`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.sentences import either, sentence
from inpainting.core.validation import check_count, check_range, check_text
from inpainting.segmenters.soft_edges import soften

MAX_POINTS = 100
MAX_CORNERS = 1000
MAX_WORDS_CHARACTERS = 500
MAX_BOXES = 20
"""Found by words: a network proposes several hundred, and outlining each takes time."""
MAX_DILATE = 64
"""Pixels by which boxes found by words are widened or narrowed."""


class Hint(StrEnum):
    """What a request says about the object, and a segmenter reads."""

    POINTS = "points"
    BOX = "box"
    OUTLINE = "outline"
    WORDS = "words"
    CATEGORY = "category"
    TOLERANCE = "tolerance"


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels from the image's top left corner, on the object or beside it."""

    x: float
    y: float
    is_object: bool = True


@dataclass(frozen=True, slots=True)
class Detection:
    """How objects are found by words. Raises InvalidRequest for a number out of its range.

    box_threshold, text_threshold: lowest scores of a box and of its words, 0 to 1. max_detections: of boxes, the best
    ones, at most MAX_BOXES; 0 is MAX_BOXES. dilate: pixels of the image by which boxes are widened, negative:
    narrowed; at most MAX_DILATE. shows_boxes: the mask is the boxes, not what is in them. outliner: name of the model
    that outlines; "" is the first installed one.
    """

    box_threshold: float = 0.3
    text_threshold: float = 0.25
    max_detections: int = 0
    dilate: float = 0
    shows_boxes: bool = False
    outliner: str = ""

    def __post_init__(self) -> None:
        check_range("box_threshold", self.box_threshold, 0, 1)
        check_range("text_threshold", self.text_threshold, 0, 1)
        check_range("max_detections", self.max_detections, 0, MAX_BOXES)
        check_range("dilate", self.dilate, -MAX_DILATE, MAX_DILATE)

    @property
    def changed(self) -> set[str]:
        """The names of the fields that differ from their defaults."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}


@dataclass(frozen=True, slots=True)
class Selection:
    """The object: points on and beside it, a box around it, a rough outline of it, words for it, or its category; by
    default the main one.

    outline: its corners, x and y; it may leave the image. tolerance: by how much a colour may differ, 0 to 255; None
    is the segmenter's default. detection: read with words. soft_edges: the masks follow hair and fur by greys, see
    `soft_edges.soften`; every segmenter's can. Raises InvalidRequest for more than MAX_POINTS points,
    MAX_CORNERS corners or MAX_WORDS_CHARACTERS characters, for an outline of fewer than three corners, or a tolerance
    out of range.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    outline: tuple[tuple[float, float], ...] = ()
    words: str = ""
    category: str = ""
    tolerance: float | None = None
    detection: Detection = Detection()
    soft_edges: bool = False

    def __post_init__(self) -> None:
        check_count(
            "points",
            len(self.points),
            MAX_POINTS,
            sentence("{name} has {count} entries", name="points", count=len(self.points)),
        )
        check_count(
            "outline",
            len(self.outline),
            MAX_CORNERS,
            sentence("{name} has {count} corners", name="outline", count=len(self.outline)),
        )
        if 0 < len(self.outline) < 3:
            raise InvalidRequest(sentence("outline needs three corners or more."), field="outline")
        check_text("words", self.words, MAX_WORDS_CHARACTERS)
        if self.tolerance is not None:
            check_range("tolerance", self.tolerance, 0, 255)

    @property
    def hints(self) -> frozenset[Hint]:
        """What the request says. Points beside the object alone say nothing about it."""
        said = {
            Hint.POINTS: self.objects,
            Hint.BOX: self.box is not None,
            Hint.OUTLINE: self.outline,
            Hint.WORDS: self.words.strip(),
            Hint.CATEGORY: self.category,
            Hint.TOLERANCE: self.tolerance is not None,
        }
        return frozenset(hint for hint, value in said.items() if value)

    def check_for(self, segmenter: Segmenter) -> None:
        """Raise InvalidRequest for hints that the segmenter does not read, or where it needs one and has none."""
        sent: set[str] = {*self.hints, *([Hint.POINTS] if self.points else [])}
        if Hint.WORDS not in segmenter.reads:
            sent |= self.detection.changed
        if ignored := sorted(sent - segmenter.reads):
            message = (
                sentence(
                    "The segmenter {name} does not read {hint}; it reads: {read}.",
                    name=segmenter.name,
                    hint=ignored[0],
                    read=", ".join(sorted(segmenter.reads)),
                )
                if segmenter.reads
                else sentence(
                    "The segmenter {name} does not read {hint}; it takes the image alone.",
                    name=segmenter.name,
                    hint=ignored[0],
                )
            )
            raise InvalidRequest(message, code="field_invalid", field=ignored[0])
        if segmenter.needs and not segmenter.needs & self.hints:
            needed = [hint for hint in Hint if hint in segmenter.needs]
            message = sentence("Mark the object: send {ways}.", ways=either(HOW_TO_MARK[hint] for hint in needed))
            raise InvalidRequest(message, code="field_missing", field=needed[0])

    @property
    def objects(self) -> tuple[Point, ...]:
        """The points on the object."""
        return tuple(point for point in self.points if point.is_object)

    def within(self, image: Size) -> Selection:
        """The selection with its box clipped to the image. Raises InvalidRequest for a point or a box outside."""
        for point in self.points:
            check_range("x", point.x, 0, image.width, field="points")
            check_range("y", point.y, 0, image.height, field="points")
        if self.box is None:
            return self
        try:
            return replace(self, box=self.box.clipped(Box.whole(image)))
        except InvalidRequest as error:
            message = sentence("box lies outside the image, which is {image}.", image=image)
            raise InvalidRequest(message, code="field_out_of_range", field="box") from error


def box_around(left: float, top: float, right: float, bottom: float) -> Box:
    """The pixels that a box with fractions touches. Raises InvalidRequest for an empty one."""
    edges = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        raise InvalidRequest(sentence("box is left, top, right, bottom; right and bottom must be larger."), field="box")
    return Box(*edges)


HOW_TO_MARK = {
    Hint.POINTS: sentence("a point on it"),
    Hint.BOX: sentence("a box around it"),
    Hint.OUTLINE: sentence("a rough outline of it"),
    Hint.WORDS: sentence("words for it"),
    Hint.CATEGORY: sentence("its category"),
}


class Segmenter(Protocol):
    """Finds the pixels of one object. Deterministic: the same image and selection give the same mask.

    reads: the hints that change its mask. needs: it needs one of these; empty where it finds the main object itself.
    """

    name: str
    label: str
    reads: frozenset[Hint]
    needs: frozenset[Hint]

    def segment(self, image: CanonicalImage, selection: Selection) -> Mask:
        """The object's pixels as 255, all others as 0, soft edges between; nothing where no object is found.

        selection: checked by `check_for` and within the image. Its points on the object decide which of several
        pieces belong to it.
        """
        ...


def check_side_ratio(image: Size, limit: int) -> None:
    """Raise InvalidRequest for an image of which a network would see less than one pixel across or down.

    limit: the pixels to which the network scales the longer side.
    """
    if image.longer > limit * min(image.width, image.height):
        message = sentence(
            "The image is {image}, too thin for this segmenter: the longer side may be "
            "at most {limit} times the shorter one.",
            image=image,
            limit=limit,
        )
        raise InvalidRequest(message, code="field_out_of_range", field="image", limit=limit, actual=str(image))


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One of several masks that fit a selection. score: 0 to 1; None where a segmenter does not rate its mask."""

    mask: Mask
    score: float | None = None


@runtime_checkable
class RatesCandidates(Protocol):
    """A segmenter that finds several masks, such as a part, the whole thing and the group around it."""

    def candidates(self, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        """At least one mask, the best one, which `segment` returns, first."""
        ...


def candidates_of(segmenter: Segmenter, image: CanonicalImage, selection: Selection) -> list[Candidate]:
    """The masks that any segmenter finds, the best one first.

    Raises InvalidRequest for a selection outside the image, or one that the segmenter cannot use; and what
    segmenters of models raise: InvalidRequest, `model_unavailable`, where the model is not installed, and EngineFailed.
    """
    selection.check_for(segmenter)
    selection = selection.within(image.size)
    if isinstance(segmenter, RatesCandidates):
        found = segmenter.candidates(image, selection)
    else:
        found = [Candidate(segmenter.segment(image, selection))]
    if not selection.soft_edges:
        return found
    pixels = to_rgb8(image)
    return [replace(candidate, mask=soften(pixels, candidate.mask)) for candidate in found]


@runtime_checkable
class LoadsModel(Protocol):
    """A segmenter with a model in memory."""

    def loaded(self) -> Any:
        """The model, loaded with its first use. Raises EngineFailed where it cannot be loaded."""
        ...


@runtime_checkable
class UsesOthers(Protocol):
    """A segmenter that uses others, such as one that outlines what it finds."""

    def others(self, selection: Selection) -> Sequence[LoadsModel]:
        """Those that it uses for a selection. Raises InvalidRequest where one is not installed."""
        ...


def load_models_of(segmenter: Segmenter, selection: Selection) -> None:
    """Load the models that the segmenter needs, if it has any, before a turn to compute is taken.

    Raises EngineFailed, and InvalidRequest where one of them is not installed.
    """
    if isinstance(segmenter, LoadsModel):
        segmenter.loaded()
    if isinstance(segmenter, UsesOthers):
        for other in segmenter.others(selection):
            other.loaded()
