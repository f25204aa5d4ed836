"""Fetch the photos of the scenes by package name, 0.1 GB, into the folder of the published weights.

    python -m benchmarks.scenes

Most are in packages of Debian 12, so this needs its `apt-get`. The exit status is that of `make weights`.
"""

from __future__ import annotations

import sys

from benchmarks.scenes.sources import FILES
from tests.weights.__main__ import fetch_missing

if __name__ == "__main__":
    sys.exit(fetch_missing(list(FILES.values())))
