"""The site's own settings, on a data folder of this run alone; tasks run where they are rung for."""

import os
import tempfile

os.environ["DREAMLAYER_DATA_DIR"] = tempfile.mkdtemp(prefix="dreamlayer-tests-")

from dreamlayer_site.settings import *  # noqa: F403

CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
