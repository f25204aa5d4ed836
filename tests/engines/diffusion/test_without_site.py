"""The engine and its benchmark run where the site is not configured and its packages are not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OF_THE_SITE = (
    "allauth",
    "celery",
    "channels",
    "daphne",
    "environ",
    "kombu",
    "psycopg",
    "redis",
    "rest_framework",
    "storages",
)
LOAD_AND_PAINT = f"""
import sys
sys.modules.update(dict.fromkeys({OF_THE_SITE}))
import benchmarks.diffusion.__main__
from pathlib import Path
from benchmarks.diffusion.models import request
from benchmarks.diffusion.serving import ignore
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import choose
from tests.support import tiny_models
spec = tiny_models.saved(Path(sys.argv[1]) / "model")
(image,), _ = Batcher(ModelCache(choose("cpu", "float32"), 10**9)).paint(request(64, steps=1), spec, ignore)
print(image.shape)
"""


def test_the_engine_paints_and_the_benchmark_starts_without_the_site(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_PAINT, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "(64, 64, 3)", done.stderr
