"""Settings for the engines alone, where neither the site nor its packages are installed.

Benchmarks of engines import this module before them; pytest takes it as a plugin: `-p benchmarks.bare_settings`.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir

from django.conf import settings

if "DJANGO_SETTINGS_MODULE" not in os.environ and not settings.configured:
    # Without a parent process no load is recorded, so nothing is written into the folder.
    settings.configure(
        DATA_DIR=Path(gettempdir()) / "dreamlayer-without-site", PARENT="", IS_ALONE=False, DEVICE_COUNT=1
    )
