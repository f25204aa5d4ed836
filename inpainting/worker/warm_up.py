"""Load the configured model, and machine code, at start-up, before a request needs them, while pages are served."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import DatabaseError, connections

from inpainting.catalog.lookup import Catalog
from inpainting.catalog.shipped import SD_INPAINT_MODEL
from inpainting.core import compiled
from inpainting.core.errors import PaintingError
from inpainting.core.request import PaintSettings
from inpainting.engines import registry
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.engines.quick_fill.compile import compile_kernels
from inpainting.planning import planner

logger = logging.getLogger(__name__)


def start_compiling() -> threading.Thread:
    """Load the machine code of quick-fill on a new thread, or compile it where it is missing: ten seconds."""
    thread = threading.Thread(target=_compile, name="compile", daemon=True)
    thread.start()
    return thread


def _compile() -> None:
    try:
        compile_kernels()
    except Exception:  # a damaged cache raises anything; NumPy code takes the place of all kernels
        compiled.AVAILABLE = False
        logger.exception("quick-fill runs without machine code. Delete the files *.nbi and *.nbc of numba's cache.")


def start_warming_up() -> threading.Thread | None:
    """Load the model on a new thread, because importing torch takes seconds. Returns None if no model is configured."""
    if not settings.DIFFUSION_WARM_UP and not settings.LOAD_SD_INPAINT:
        return None
    thread = threading.Thread(target=_warm_up, name="warm-up", daemon=True)
    thread.start()
    return thread


def _warm_up() -> None:
    name = "DREAMLAYER_DIFFUSION_WARM_UP" if settings.DIFFUSION_WARM_UP else "LOAD_SD_INPAINT"
    try:
        slug = settings.DIFFUSION_WARM_UP or Catalog().closest_installed(SD_INPAINT_MODEL)
        for engine in registry.engines().values():
            if isinstance(engine, Diffusion):
                resolution = planner().resolve(engine.declaration, PaintSettings(model=slug))
                engine.warm_up(resolution.required_model)
    except PaintingError as error:
        logger.warning("%s: %s", name, error.message)
    except (DatabaseError, ImportError) as error:
        logger.warning("%s: the model cannot be loaded early: %s", name, error)
    finally:
        connections.close_all()
