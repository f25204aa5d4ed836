"""Colour match: undo, in what an engine painted, the change of tone it made to pixels it should have left alone.

An engine's image shows the kept surroundings of the mask too. There, and only there, both the original colour and
the engine's version of it are known, pixel by pixel; so the change is fitted on these pairs. Matching the statistics
of the whole window instead would let a removed red object tint what replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_PAIRS = 16
MAX_PAIRS = 100_000
GAIN_LIMITS = 0.5, 2.0
MIN_CORRELATION = 0.9
"""Below this the engine painted something else there, and contrasts cannot be compared; means still can."""
MIN_SPREAD = 2.0
"""Levels: the contrast of a flat ring is only noise."""
ROUNDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class ColourMatch:
    """The match of each channel, in levels 0-255: a colour becomes gain * colour + offset."""

    # `gain`, `offset`: [channels].
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]

    def __call__(self, colour: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the matched colours [..., channels]."""
        return colour * self.gain + self.offset


def fit_colour_match(painted: NDArray[np.float32], kept: NDArray[np.float32]) -> ColourMatch | None:
    """Return the match that takes `painted` to `kept`, two lists [pixels, channels] of the same places, levels 0-255.

    Robust: pairs that the fit cannot explain (a shadow painted away) are left out, by their distance in median absolute
    deviations. The gain is the ratio of the spreads (reduced major axis): least squares would give too low a one where
    both sides are noisy. None where there are too few pairs, or nothing to change.
    """
    if len(painted) < MIN_PAIRS:
        return None
    stride = -(-len(painted) // MAX_PAIRS)
    pairs = zip(painted[::stride].T.astype(np.float64), kept[::stride].T.astype(np.float64), strict=True)
    lines = [_fit_line(x, y) for x, y in pairs]
    gain, offset = (np.array(numbers, np.float32) for numbers in zip(*lines, strict=True))
    if np.allclose(gain, 1) and np.allclose(offset, 0):
        return None
    return ColourMatch(gain, offset)


def _fit_line(painted: NDArray[np.float64], kept: NDArray[np.float64]) -> tuple[float, float]:
    """Return gain and offset of one channel, fitted to the inliers of the previous round."""
    gain, offset = 1.0, float(np.median(kept - painted))
    for _ in range(ROUNDS):
        error = np.abs(kept - gain * painted - offset)
        # 1.4826 MAD estimates a normal spread (Rousseeuw and Croux 1993); a level is added for rounding.
        inliers = error <= 2.5 * 1.4826 * float(np.median(error)) + 1
        x, y = painted[inliers], kept[inliers]
        gain = _gain(x, y)
        offset = float(y.mean() - gain * x.mean())
    return gain, offset


def _gain(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the ratio of the standard deviations within GAIN_LIMITS; 1 where contrasts cannot be compared."""
    spread_x, spread_y = float(x.std()), float(y.std())
    if min(spread_x, spread_y) < MIN_SPREAD:
        return 1.0
    correlation = float(((x - x.mean()) * (y - y.mean())).mean()) / (spread_x * spread_y)
    if correlation < MIN_CORRELATION:
        return 1.0
    return min(max(spread_y / spread_x, GAIN_LIMITS[0]), GAIN_LIMITS[1])
