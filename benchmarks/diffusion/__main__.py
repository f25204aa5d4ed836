"""The diffusion engine compared with plain diffusers pipelines with the same weights, in one run.

    python -m benchmarks.diffusion --device cpu  [--rows C3 C4] [--json FILE]     15 minutes on 2 busy cores
    python -m benchmarks.diffusion --device cuda --rows sd --json FILE            under 10 minutes, as each group
    python -m benchmarks.diffusion --device cpu --small --rows gpu                tiny models: do the rows run at all?

Groups of rows: {groups}.
Full-size architectures from their published configurations with random weights; nothing is downloaded. Sides take
turns; times are medians, "spread" is the longest less the shortest, "% floor" the time that the arithmetic alone takes
at the ceiling measured in the same run, and parity the relative L2 to peer A. A row without parity, or outside its gate
(2e-2 in 16 bits, 1e-5 in 32), does not count. --json appends a line about the run, with device, torch, commit and date,
and then one for each row as soon as it is measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import diffusers
import torch

from benchmarks.diffusion import choice_rows, compiled_rows, cpu_rows, gpu_rows, http_row, memory_rows, serving_rows
from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.measuring import Row, heading
from inpainting.networks.device import hardware

ROOT = Path(__file__).resolve().parent.parent.parent
CPU_MODULES = (cpu_rows,)
GPU_MODULES = (gpu_rows, serving_rows, http_row, compiled_rows, choice_rows, memory_rows)
GPU_ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    name: row for module in GPU_MODULES for name, row in module.ROWS.items()
}
CPU_ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    name: row for module in CPU_MODULES for name, row in module.ROWS.items()
}
ROWS = {**CPU_ROWS, **GPU_ROWS}
SECONDS = {name: seconds for module in (*CPU_MODULES, *GPU_MODULES) for name, seconds in module.SECONDS.items()}
GROUPS = {
    "sd": ("G1", "G2", "G6", "G8", "G11"),
    "serving": ("G3", "G10", "G12", "G13", "G14", "G15", "G16"),
    "http": ("G17",),
    "sdxl": ("G4",),
    "flux": ("G5",),
    "compiling-sd": ("G23",),
    "compiling-sdxl": ("G24",),
    "compiling-flux": ("G25",),
    "attention": ("G26", "G29"),
    "projections": ("G30", "G31"),
    "vae": ("G32",),
    "kernels": ("G38", "G39"),
    "cache": ("G34", "G40"),
    "offloading": ("G27",),
    "quantising": ("G33", "G28"),
    "memory": ("G35", "G36", "G37"),
}
"""Rows of a GPU that fit into one call of ten minutes, by the name that --rows takes."""
PEERS = {
    False: ("A: diffusers float32", "B: diffusers bfloat16 channels_last"),
    True: ("A: diffusers float16 eager", "B: diffusers float16 compiled"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").format(groups=described_groups()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument(
        "--rows", nargs="*", type=rows_in, help="such as C3 C4, C3,C4 or a group; the CPU's own, if left out"
    )
    parser.add_argument("--small", action="store_true", help="tiny models, to see that the rows run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long the turns of one comparison may take")
    parser.add_argument("--minutes", type=float, default=9.0, help="rows that no longer fit are skipped")
    parser.add_argument("--json", type=Path, help="append one line about this run to this file")
    options = parser.parse_args(arguments)
    names = [name for group in options.rows or [] for name in group] or list(own_rows(options.device))
    if not names:
        parser.error(f"Choose rows: a group ({', '.join(GROUPS)}) fits into a call of ten minutes.")
    is_gpu_run = any(name in GPU_ROWS for name in names)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device here.")
    if is_gpu_run and any(name in CPU_ROWS for name in names):
        parser.error("The rows C and G are measured in runs of their own: their peers are not the same.")
    if is_gpu_run and options.device == "cpu" and not options.small:
        parser.error("On a CPU the rows of a GPU run with --small alone.")
    started = time.monotonic()
    about = surroundings(options.device, options.small)
    print(f"<!-- {', '.join(f'{name} {value}' for name, value in about.items())} -->")
    print(heading(*PEERS[is_gpu_run]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            hardware.choose(options.device),
            Path(folder),
            small=options.small,
            repeats=options.repeats,
            deadline=started + 60 * options.minutes,
            contest_seconds=options.seconds,
            is_gpu_run=is_gpu_run,
        )
        append_line(options.json, {"run": about})
        has_failed = False
        for name in ceilings_first(names, is_gpu_run):
            for row in measured_rows(bench, name):
                append_line(options.json, {"date": about["date"], **row})
                has_failed |= "failed" in row
    return int(has_failed)


def append_line(path: Path | None, value: dict[str, Any]) -> None:
    """Append a line of JSON at once: a run may be stopped at any row."""
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(value) + "\n")


def described_groups() -> str:
    return "; ".join(f"{name} ({' '.join(rows)})" for name, rows in GROUPS.items())


def rows_in(words: str) -> list[str]:
    """The rows that a word names: rows, groups, or `gpu` for all rows of a GPU."""
    known = {**{name.lower(): (name,) for name in ROWS}, **GROUPS, "gpu": tuple(GPU_ROWS)}
    names: list[str] = []
    for word in (word.strip().lower() for word in words.split(",")):
        if word and word not in known:
            raise argparse.ArgumentTypeError(f"no row {word}; there are {', '.join([*GROUPS, 'gpu', *ROWS])}")
        names += known.get(word, ())
    return names


def own_rows(device: str) -> Sequence[str]:
    """Of a CPU; those of a GPU take longer than one call."""
    return () if device == "cuda" else tuple(CPU_ROWS)


def ceilings_first(names: Sequence[str], is_gpu_run: bool) -> list[str]:
    """Put the ceilings first. They are always measured, because the limits of all other rows derive from them."""
    first = "G0" if is_gpu_run else "C0"
    return [first, *(name for name in names if name != first)]


def measured_rows(bench: Bench, name: str) -> Iterator[dict[str, Any]]:
    """Measure a row, print its lines as they come, and go on where it breaks: one row must not cost the others."""
    needed = 0.0 if bench.small else SECONDS[name]
    if bench.left_seconds < needed:
        print(f"| {name} | skipped: takes about {needed:.0f} s and {bench.left_seconds:.0f} s are left |", flush=True)
        yield {"row": name, "skipped": True}
        return
    started = time.monotonic()
    try:
        for row in ROWS[name](bench):
            print(row.line(), flush=True)
            yield row.as_json()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        sentence = (str(error).splitlines() or [""])[0][:200]
        print(f"| {name} | failed: {type(error).__name__}: {sentence} |", flush=True)
        yield {"row": name, "failed": f"{type(error).__name__}: {sentence}"}
    print(f"<!-- {name} took {time.monotonic() - started:.0f} s -->", flush=True)


def surroundings(device: str, small: bool) -> dict[str, Any]:
    """What a reader must know to believe the figures."""
    commit = ""
    if shutil.which("git"):
        describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    name = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} cores {platform.machine()}"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": name,
        "models": "tiny, figures mean nothing" if small else "full size, random weights",
        "bfloat16": hardware.cpu_has_bfloat16(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "commit": commit or "unknown",
    }


if __name__ == "__main__":
    sys.exit(main())
