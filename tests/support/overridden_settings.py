"""The site's settings, some of them replaced by those of the variable OVERRIDDEN_SETTINGS.

A test that starts a server changes a setting so that has no environment variable; `installation.overriding` does it.
"""

import json
import os

from dreamlayer_site.settings import *  # noqa: F403

globals().update(json.loads(os.environ.get("OVERRIDDEN_SETTINGS", "{}")))
