"""The site's settings with a slow engine and fail points at which the process exits on demand."""

from dreamlayer_site.settings import INSTALLED_APPS
from tests.support.overridden_settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos"]
