"""The pause of a full garbage collection, before and after `freeze_imports`, with all that a worker imports.

python -m benchmarks.garbage [--repeats 5]
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DREAMLAYER_DATA_DIR"] = folder
        import dreamlayer_site.asgi  # noqa: F401
        from inpainting.garbage import freeze_imports

        print(f"{'what is imported':42} {'objects':>8} {'median':>9} {'worst':>9}")
        row("the site", repeats)
        import inpainting.engines.diffusion.serving.batcher  # noqa: F401

        row("the site and the diffusion engine", repeats)
        freeze_imports(of="diffusers")
        row("the same, frozen", repeats)


def row(name: str, repeats: int) -> None:
    pauses = []
    for _ in range(repeats):
        start = time.perf_counter()
        gc.collect()
        pauses.append(1000 * (time.perf_counter() - start))
    print(f"{name:42} {len(gc.get_objects()):>8} {statistics.median(pauses):>6.1f} ms {max(pauses):>6.1f} ms")


if __name__ == "__main__":
    main()
