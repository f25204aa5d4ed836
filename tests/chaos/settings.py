"""The site's own settings with a slow little engine and places where the process kills itself on demand."""

from dreamlayer_site.settings import *  # noqa: F403
from dreamlayer_site.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos"]
