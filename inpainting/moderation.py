"""The safety checker here: what the site's setting makes of a request, and what becomes of a painting."""

from __future__ import annotations

import logging
from functools import partial

from django.conf import settings as site
from django.db import DatabaseError

from inpainting.core.errors import InvalidRequest
from inpainting.core.moderation import policy
from inpainting.core.request import PaintSettings
from inpainting.engines.safety import Examine, examined, find_checker

logger = logging.getLogger(__name__)


def examiner(settings: PaintSettings) -> Examine | None:
    """What every painting of a request has to pass, by the site's setting of now; None where the checker is off.

    It needs neither settings nor catalog any more, and may be sent to another process. Raises as `settled`.
    """
    in_force, _ = policy.resolve(settings, site.SAFETY_CHECKER)
    how = in_force.safety_checker_type
    if not in_force.safety_checker or how is None:
        return None
    return partial(examined, how=how, checker=find_checker())


def warn_where_unavailable() -> None:
    """Say at the start that everything will be refused, where the checker is on and cannot look."""
    if site.SAFETY_CHECKER == policy.OFF:
        return
    try:
        find_checker()
    except InvalidRequest as error:
        logger.warning("DREAMLAYER_SAFETY_CHECKER: nothing will be painted. %s", error.message)
    except DatabaseError as error:
        logger.warning("DREAMLAYER_SAFETY_CHECKER: the catalog of models cannot be read: %s", error)
