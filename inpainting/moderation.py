"""The safety checker under this site's settings."""

from __future__ import annotations

import logging
from functools import partial

from django.conf import settings as site
from django.db import DatabaseError

from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import InvalidRequest
from inpainting.core.moderation import policy
from inpainting.core.request import PaintSettings
from inpainting.engines import moderation
from inpainting.engines.moderation import Moderate, apply_safety_checker

logger = logging.getLogger(__name__)


def find_safety_checker() -> ModelSpec:
    """The installed safety checker. Raises InvalidRequest, `safety_checker_unavailable`, with what is missing."""
    return moderation.find_safety_checker(Catalog())


def moderator(settings: PaintSettings) -> Moderate | None:
    """The moderation to apply to each painting under the site's setting; None if the checker is off.

    It needs neither Django's settings nor the catalog, so it can be sent to another process. Raises InvalidRequest,
    `safety_checker_unavailable`.
    """
    resolved, _ = policy.resolve(settings, site.SAFETY_CHECKER)
    how = resolved.safety_checker_type
    if not resolved.safety_checker or how is None:
        return None
    return partial(apply_safety_checker, how=how, checker=find_safety_checker())


def warn_where_unavailable() -> None:
    """Log a warning at start-up if the checker is on and cannot run: every request will be refused."""
    if site.SAFETY_CHECKER == policy.OFF:
        return
    try:
        find_safety_checker()
    except InvalidRequest as error:
        logger.warning("DREAMLAYER_SAFETY_CHECKER: nothing will be painted. %s", error.message)
    except DatabaseError as error:
        logger.warning("DREAMLAYER_SAFETY_CHECKER: the catalog of models cannot be read: %s", error)
