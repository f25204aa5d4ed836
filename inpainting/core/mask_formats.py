"""Masks as run lengths (COCO) and as outlines (SVG paths, COCO polygons). Both are exact for masks without greys.

Coordinates are pixels; pixel (x, y) is the square from (x, y) to (x + 1, y + 1). Input is not trusted: what a text
holds is counted before it is parsed, and counts and coordinates are checked before memory is reserved.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import Mask
from inpainting.core.sentences import Sentence, mark, sentence
from inpainting.core.validation import check_count

MAX_CORNERS = 200_000
"""Corners of all outlines of a mask. A mask with more is noise, which run lengths or a PNG hold better."""
MAX_RUNS = 2_000_000
"""Runs of a mask. One with more is noise, which a PNG holds better; writing them takes about half a second."""
MAX_CROSSINGS = 10_000_000
"""Rows that all edges of all outlines may cross together: filling them takes about a second."""
CHUNK = 2**20
"""Crossings that are computed at once, which bounds the memory."""
MAX_PATH_CHARACTERS = 4_000_000
Ring = NDArray[np.float64]
"""The corners of a closed outline: [corners, 2], each x and y."""


class MaskBudget:
    """What the masks of one request may hold together, so that a request costs the same however many it has.

    max_pixels: pixels of all of them.
    """

    def __init__(self, max_pixels: int) -> None:
        self.spent: Counter[str] = Counter()
        # Each corner of a path has at most two commands, L and Z, and two numbers of two runs of digits, "12.5".
        self.limits = {
            mark("commands"): 2 * MAX_CORNERS,
            mark("runs of digits"): 4 * MAX_CORNERS,
            mark("runs"): MAX_RUNS,
            mark("rows crossed by outlines"): MAX_CROSSINGS,
            mark("pixels"): max_pixels,
        }

    def spend(self, what: str, count: int) -> None:
        """Count something of one more mask. Raises InvalidRequest (`mask_too_complex`) where it is too much."""
        self.spent[what] += count
        if self.spent[what] > self.limits[what]:
            raise InvalidRequest(
                sentence(
                    "The masks of the request have {count} {what}; at most {most} are allowed.",
                    count=self.spent[what],
                    what=Sentence(what),
                    most=self.limits[what],
                ),
                code="mask_too_complex",
                field="mask",
                limit=self.limits[what],
                actual=self.spent[what],
            )


def run_lengths(mask: Mask) -> list[int]:
    """Return the lengths of alternating runs, column by column from the top left, beginning with pixels not selected.

    COCO's uncompressed `counts` (cocodataset.org, format of results). Any value above 0 is selected.
    Raises InvalidRequest (`mask_too_complex`) above MAX_RUNS.
    """
    pixels = (mask > 0).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    if len(changes) >= MAX_RUNS:
        message = sentence(
            "The mask has {count} runs; at most {max_runs} are allowed.", count=len(changes) + 1, max_runs=MAX_RUNS
        )
        raise InvalidRequest(message, code="mask_too_complex", field="format", limit=MAX_RUNS, actual=len(changes) + 1)
    edges = np.concatenate(([0], changes, [pixels.size]))
    lengths: list[int] = np.diff(edges).tolist()
    return [0, *lengths] if pixels[0] else lengths


def mask_of_run_lengths(lengths: Sequence[int], size: Size) -> Mask:
    """Return the mask of COCO's uncompressed `counts`. Raises InvalidRequest unless the lengths add up to the size."""
    if not all(type(length) is int and 0 <= length <= size.area for length in lengths) or sum(lengths) != size.area:
        message = sentence(
            "The counts of a run-length mask of {size} must be whole numbers that add up to {area}.",
            size=size,
            area=size.area,
        )
        raise InvalidRequest(message, code="mask_invalid", field="mask")
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = 255
    return np.repeat(values, lengths).reshape(size.width, size.height).T.copy()


def compress_run_lengths(lengths: Sequence[int]) -> str:
    """Run lengths as COCO's compressed text: differences to the length two before, 5 bits in each character."""
    text = bytearray()
    for index, length in enumerate(lengths):
        rest = length - lengths[index - 2] if index > 2 else length
        while True:
            bits, rest = rest & 31, rest >> 5
            is_last = rest == (-1 if bits & 16 else 0)
            text.append(48 + (bits if is_last else bits | 32))
            if is_last:
                break
    return text.decode()


def decompress_run_lengths(text: str, budget: MaskBudget) -> list[int]:
    """Return the run lengths of COCO's compressed text. Raises InvalidRequest for anything else, and over budget."""
    codes = _ascii(text)
    budget.spend("runs", int(np.count_nonzero((codes < 80) | (codes >= 112))))  # of 48 to 111, these end a run
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            break
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    else:
        if not shift:
            return lengths
    raise InvalidRequest(
        sentence("The counts of the run-length mask are not COCO's text."), code="mask_invalid", field="mask"
    )


def outlines(mask: Mask) -> list[Ring]:
    """Return the outlines of the selected pixels along the pixels' edges; filled by the even-odd rule they give the
    mask.

    Corners of a region with right angles alternate between both directions, so those in one row are joined in pairs,
    and so are those in one column. Raises InvalidRequest (`mask_too_complex`) above MAX_CORNERS.
    """
    height, width = mask.shape
    selected = np.zeros((height + 2, width + 2), bool)
    selected[1:-1, 1:-1] = mask > 0
    above, below = selected[:-1], selected[1:]
    odd = above[:, :-1] ^ above[:, 1:] ^ below[:, :-1] ^ below[:, 1:]
    crossing = ~odd & (above[:, :-1] ^ above[:, 1:]) & (above[:, :-1] ^ below[:, :-1])
    y, x = np.nonzero(odd | crossing)
    repeats = 1 + crossing[y, x]
    y, x = np.repeat(y, repeats), np.repeat(x, repeats)  # two outlines touch where pixels touch by a corner
    if len(x) > MAX_CORNERS:
        message = sentence(
            "The outlines of the mask have {count} corners; at most {max_corners} are allowed.",
            count=len(x),
            max_corners=MAX_CORNERS,
        )
        raise InvalidRequest(message, code="mask_too_complex", field="format", limit=MAX_CORNERS, actual=len(x))
    along_row, along_column = _pairs(np.lexsort((x, y))), _pairs(np.lexsort((y, x)))
    corners = np.stack((x, y), axis=1).astype(np.float64)
    is_left, rings = np.ones(len(x), bool), []
    for start in range(len(x)):
        ring, corner = [], start
        while is_left[corner]:
            other = along_row[corner]
            ring += [corner, other]
            is_left[[corner, other]] = False
            corner = along_column[other]
        if ring:
            rings.append(corners[ring])
    return rings


def _pairs(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the corner that each is joined to: the first in this order to the second, the third to the fourth, and so
    on."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def fill_outlines(rings: Iterable[Ring], size: Size, budget: MaskBudget) -> Mask:
    """Return the pixels whose centre lies inside the outlines by the even-odd rule; outlines may leave the image.

    Raises InvalidRequest (`mask_too_complex`) where the outlines cross too many rows for the budget.
    """
    starts, ends = (np.concatenate([np.empty((0, 2)), *part]) for part in _edges(rings))
    is_down = (starts[:, 1] <= ends[:, 1])[:, None]
    starts, ends = np.where(is_down, starts, ends), np.where(is_down, ends, starts)
    first, last = (np.clip(np.ceil(points[:, 1] - 0.5), 0, size.height).astype(np.int64) for points in (starts, ends))
    reached = np.cumsum(last - first)
    budget.spend("rows crossed by outlines", int(reached[-1]) if len(reached) else 0)
    crossings = np.zeros((size.height, size.width + 1), np.uint8)
    for part in np.split(np.arange(len(first)), np.searchsorted(reached, range(CHUNK, MAX_CROSSINGS, CHUNK))):
        edge = np.repeat(part, (last - first)[part])
        row = np.arange(len(edge)) - np.repeat(np.cumsum((last - first)[part]) - last[part], (last - first)[part])
        (x0, y0), (x1, y1) = starts[edge].T, ends[edge].T
        column = np.ceil(x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0)) - 0.5)
        np.add.at(crossings, (row, np.clip(column, 0, size.width).astype(np.int64)), 1)  # 256 are even again
    is_inside = np.cumsum(crossings[:, :-1], axis=1, dtype=np.uint8) % 2 == 1
    return np.where(is_inside, np.uint8(255), np.uint8(0))


def _edges(rings: Iterable[Ring]) -> tuple[list[Ring], list[Ring]]:
    """Return the beginnings and the ends of all edges."""
    closed = [ring for ring in rings if len(ring)]
    return closed, [np.roll(ring, -1, axis=0) for ring in closed]


def svg_path(rings: Iterable[Ring]) -> str:
    """Return the `d` of an SVG path, for `fill-rule="evenodd"`; corners of pixels, so whole numbers."""
    return " ".join("M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in ring) + "Z" for ring in rings)


_TOKEN = re.compile(r"([A-Za-z])|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)|[\s,]+|(.)", re.DOTALL)
_LENGTHS = {"M": 2, "L": 2, "H": 1, "V": 1, "Z": 0}


def rings_of_path(path: str, budget: MaskBudget) -> list[Ring]:
    """Return the outlines of an SVG path of straight lines: M, L, H, V and Z, absolute or relative (SVG 2, section
    9.3).

    Raises InvalidRequest for curves, for malformed paths, above MAX_PATH_CHARACTERS or MAX_CORNERS, and over budget.
    """
    check_count("mask", len(path), MAX_PATH_CHARACTERS, sentence("The path has {count} characters", count=len(path)))
    codes = _ascii(path)
    is_digit = (codes >= ord("0")) & (codes <= ord("9"))
    budget.spend("commands", int(np.count_nonzero((codes | 32) - np.uint8(ord("a")) < 26)))
    budget.spend("runs of digits", int(np.count_nonzero(is_digit[1:] & ~is_digit[:-1])))
    rings: list[list[tuple[float, float]]] = []
    x = y = 0.0
    is_closed = False
    for command, numbers in _segments(path):
        name, is_relative = command.upper(), command.islower()
        if name == "Z":
            x, y = rings[-1][0]
            is_closed = True
            continue
        if is_closed and name != "M":  # a new outline begins where the last one began
            rings.append([(x, y)])
        is_closed = False
        count = _LENGTHS[name]
        for index in range(0, len(numbers), count):
            here = numbers[index : index + count]
            left, top = (x, y) if is_relative else (0.0, 0.0)
            x = x if name == "V" else left + here[0]
            y = y if name == "H" else top + here[-1]
            if name == "M" and index == 0:
                rings.append([])
            rings[-1].append((x, y))
    return check_rings(rings)


def _segments(path: str) -> Iterable[tuple[str, list[float]]]:
    """Return the commands of a path with their numbers."""
    found: list[tuple[str, list[float]]] = []
    for match in _TOKEN.finditer(path):
        if match[3] or (match[1] and match[1].upper() not in _LENGTHS) or (match[2] and not found):
            break
        if match[1]:
            found.append((match[1], []))
        elif match[2]:
            found[-1][1].append(float(match[2]))
    else:
        wrong = [name for name, numbers in found if not _has_its_numbers(name, numbers)]
        if not wrong and (not found or found[0][0].upper() == "M"):
            return found
    message = sentence("The path must consist of straight lines: M, L, H, V and Z with their coordinates, M first.")
    raise InvalidRequest(message, code="mask_invalid", field="mask")


def _ascii(text: str) -> NDArray[np.uint8]:
    """Return the codes of the characters, "?" for those that are not ASCII."""
    return np.frombuffer(text.encode("ascii", "replace"), np.uint8)


def _has_its_numbers(name: str, numbers: list[float]) -> bool:
    count = _LENGTHS[name.upper()]
    return not numbers if count == 0 else bool(numbers) and len(numbers) % count == 0


def check_rings(rings: Iterable[Sequence[tuple[float, float]]]) -> list[Ring]:
    """Return the outlines as arrays. Raises InvalidRequest for coordinates beyond a million and above MAX_CORNERS."""
    arrays = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings]
    corners = sum(map(len, arrays))
    check_count("mask", corners, MAX_CORNERS, sentence("The outlines have {count} corners", count=corners))
    if not (np.abs(np.concatenate([np.empty((0, 2)), *arrays])) <= 1e6).all():  # NaN is refused as well
        message = sentence("The coordinates of an outline must lie between -1000000 and 1000000.")
        raise InvalidRequest(message, code="field_out_of_range", field="mask")
    return arrays
