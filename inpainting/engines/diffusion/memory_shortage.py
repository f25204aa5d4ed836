"""How long a model computes in a way that saves memory after memory was short."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.core.geometry import Size

RETRY_AFTER, MAX_RETRY_AFTER = 8, 512
"""Images after which the usual way is tried again: at first, and at most. Each time that memory is short again within
so many images, it is tried after twice as many."""


@dataclass(slots=True)
class MemoryShortage:
    """Whether memory was short for a model, and for which images it may compute in its usual way again."""

    area: int | None = None
    """The pixels of the smallest image that memory was too short for; None while the model computes as usual."""
    image_count: int = 0
    """Images finished since memory was short, or since the model has computed as usual again."""
    retry_after: int = 0
    """Images after which the usual way is tried again; 0 before memory was ever short."""

    def begin(self, size: Size) -> None:
        """Remember that memory was short for an image of that size."""
        if self.area is None:
            is_soon = self.image_count < self.retry_after
            self.retry_after = min(2 * self.retry_after, MAX_RETRY_AFTER) if is_soon else RETRY_AFTER
        self.area = min(size.area, self.area or size.area)
        self.image_count = 0

    def end(self) -> None:
        """Remember that the model computes as usual again."""
        if self.area is not None:
            self.area, self.image_count = None, 0

    def fits(self, size: Size) -> bool:
        """Whether an image is smaller than all for which memory was short."""
        return self.area is None or size.area < self.area

    @property
    def is_over(self) -> bool:
        """Whether enough images were painted since memory was short to try the usual way again."""
        return self.area is not None and self.image_count >= self.retry_after
