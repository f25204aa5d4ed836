"""Joins the strips or tiles of a TIFF: byte order, predictor, tiles and planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.tiff.decompression import decompress
from inpainting.core.codecs.tiff.storage import ChunkBatch, Storage
from inpainting.core.image import Pixels


def read_samples(storage: Storage, kept: Sequence[int]) -> Pixels:
    """Return the samples with these numbers, ascending: [height, width, kept], or of under 8 bits [height, row bytes,
    1].

    A few strips or tiles are held beside the result. Raises DecodingFailed, and InvalidImage for JPEGs that are not
    read.
    """
    width = storage.size.width if storage.bits >= 8 else -(-storage.size.width * storage.bits // 8)
    result = np.empty((storage.size.height, width, len(kept)), np.uint16 if storage.bits == 16 else np.uint8)
    are_rows = not storage.is_tiled and storage.planes == 1 and len(kept) == storage.samples
    for batch in storage.batches():
        if storage.planes > 1 and batch.plane not in kept:
            continue
        target = result[batch.top :, batch.left :]
        if are_rows:
            _read(storage, batch, target[: batch.rows].view(np.uint8).reshape(batch.rows, -1))
            continue
        samples = _read(storage, batch, np.empty((batch.rows, storage.row_bytes), np.uint8))
        if storage.is_tiled:
            samples = _side_by_side(samples, storage, batch)
        samples = samples[: target.shape[0], : target.shape[1]]
        target = target[: samples.shape[0], : samples.shape[1]]
        if storage.planes > 1:
            target[:, :, kept.index(batch.plane)] = samples[:, :, 0]
        elif len(kept) == storage.samples:
            target[:] = samples
        else:
            for place, number in enumerate(kept):
                target[:, :, place] = samples[:, :, number]
    return result


def _read(storage: Storage, batch: ChunkBatch, rows: NDArray[np.uint8]) -> Pixels:
    """Return the samples of a batch [rows, columns, samples], in the memory of `rows` [rows, row bytes]."""
    decompress(storage, batch, rows)
    samples: Pixels = rows
    if storage.bits == 16:
        samples = rows.view(np.uint16)
        if not np.dtype(storage.order + "u2").isnative:
            samples.byteswap(inplace=True)
    samples = samples.reshape(-1, storage.columns, storage.samples)
    if storage.has_predictor:  # horizontal differencing, modulo the range of a sample (section 14)
        np.add.accumulate(samples, axis=1, out=samples, dtype=samples.dtype)
    return samples


def _side_by_side(samples: Pixels, storage: Storage, batch: ChunkBatch) -> Pixels:
    """Return the tiles of a batch, which lie one below the other, in the rows of tiles that they belong to."""
    height, tiles = storage.chunk.height, batch.last - batch.first
    down = max(1, tiles // storage.across)
    placed = samples.reshape(down, tiles // down, height, storage.columns, storage.samples).transpose(0, 2, 1, 3, 4)
    return placed.reshape(down * height, -1, storage.samples)
