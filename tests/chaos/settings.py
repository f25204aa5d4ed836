"""The site's settings with a slow engine and fail points at which the process exits on demand."""

import os
import select
import time

from dreamlayer_site.settings import INSTALLED_APPS
from tests.support.overridden_settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos"]

if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    # libfaketime 0.9.10 refuses to sleep until a monotonic time, as `time.sleep` does.
    time.sleep = lambda seconds: select.select([], [], [], float(seconds))  # type: ignore[assignment]
