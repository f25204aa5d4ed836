"""The planner of this site."""

from __future__ import annotations

from django.conf import settings

from inpainting.catalog.lookup import Catalog
from inpainting.engines.plan import Planner


def planner(catalog: Catalog | None = None) -> Planner:
    """Return a planner for one request. catalog: the one that the request has read already."""
    return Planner(
        catalog or Catalog(),
        settings.SAFETY_CHECKER,
        max_megapixels=settings.MAX_PAINT_MEGAPIXELS,
        requires_diffusion=settings.COMPAT_REQUIRE_DIFFUSION,
    )
