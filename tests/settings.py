"""The site's settings with a data folder for this run alone; Celery tasks run immediately.

DREAMLAYER_TEST_POSTGRES=1 runs the tests on a PostgreSQL server that is started for the run.
"""

import os

from tests.support import postgres, scratch

# Several workers share the processors: threads that wait for each other would only spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ[scratch.RUN_FOLDER] = scratch.run_folder()
os.environ["DREAMLAYER_DATA_DIR"] = scratch.folder("dreamlayer-tests-")
if os.environ.get("DREAMLAYER_TEST_POSTGRES"):
    os.environ["DREAMLAYER_DATABASE_URL"] = postgres.start()

from dreamlayer_site.settings import *  # noqa: F403
from dreamlayer_site.settings import DATA_DIR, DATABASES, STORAGES

# A file, as in production: an in-memory database locks differently when several threads use it.
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}
    # Tests would wait a fifth of their time for the disk. Servers in processes of their own keep FULL.
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
DIFFUSION_OPENVINO = "off"  # otherwise each tiny model is converted in a separate process
# Under their own names, and not served: real servers serve them in test_static_files.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
