"""requirements.lock: every package of an installation with the SHA-256 of its wheels.

    python3 deploy/locked.py base erase diffusion cuda > wanted.txt     the packages of these sections, for pip
    python3 deploy/locked.py --write                                    make the file anew, with uv on the PATH

    pip install --no-deps --require-hashes --only-binary :all: --requirement wanted.txt

The sections are `base`, one for each optional dependency in `EXTRAS`, and the two builds of torch: `cuda` is that of
PyPI, which on Linux needs NVIDIA's libraries, `cpu` that of PyTorch's index for processors. A package that several
optional dependencies need is in `base`. The versions are those of constraints.txt; what it does not pin is the latest.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "requirements.lock"
EXTRAS = ("erase", "scale", "diffusion")
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
HEADING = "# section "
OF_CUDA = re.compile(r"(torch|triton|cuda-.*|nvidia-.*)==")
"""What is installed with torch of PyPI only."""
BUILDS_DREAMLAYER = "setuptools"
PLATFORMS = {
    ("linux", "x86_64"): "manylinux_.*_x86_64",
    ("darwin", "arm64"): "macosx_.*_arm64",
}
"""sys_platform and platform_machine: the names of wheels for it. PyMaxflow has no wheel for other Linux machines, torch
none for other macOS machines."""
PYTHONS, END_OF_PYTHONS = ("3.11", "3.12", "3.13"), "3.14"


def main(arguments: list[str]) -> None:
    if arguments == ["--write"]:
        FILE.write_text(made_anew())
    else:
        sections = read_sections(FILE.read_text())
        print("".join(sections[name] for name in arguments), end="")


def read_sections(text: str) -> dict[str, str]:
    _, *parts = re.split(f"^{HEADING}", text, flags=re.MULTILINE)
    return {name: entries for name, _, entries in (part.partition("\n") for part in parts)}


def made_anew() -> str:
    """The file's content. Raises CalledProcessError where uv finds no versions, and OSError without a network."""
    base = compiled()
    with_extra = {extra: [entry for entry in compiled(extra) if entry not in base] for extra in EXTRAS}
    every = [entry for entries in with_extra.values() for entry in entries]
    shared = {entry for entry in every if every.count(entry) > 1}
    of_cuda = [entry for entry in with_extra["diffusion"] if OF_CUDA.match(entry)]
    torch = next(entry for entry in of_cuda if entry.startswith("torch=="))
    sections = {
        "base": sorted({*base, *shared}),
        **{extra: [entry for entry in with_extra[extra] if entry not in {*shared, *of_cuda}] for extra in EXTRAS},
        "cuda": of_cuda,
        "cpu": [f"--extra-index-url {CPU_TORCH_INDEX}\n", torch_for_processors(torch.split()[0])],
    }
    parts = (f"{HEADING}{name}\n{''.join(entries)}" for name, entries in sections.items())
    return "# Written by `python3 deploy/locked.py --write`, which says how to install from it.\n" + "".join(parts)


def compiled(*extras: str) -> list[str]:
    """An entry for each package that an installation with these optional dependencies has on one of the platforms."""
    command = ["uv", "pip", "compile", "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command += ["--only-binary", ":all:", "--python-version", PYTHONS[0], "--constraint", "constraints.txt"]
    command += ["--default-index", "https://pypi.org/simple", "pyproject.toml", "-"]
    command += [f"--extra={extra}" for extra in extras]
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, cwd=ROOT, input=f"{BUILDS_DREAMLAYER}\n", stdout=subprocess.PIPE, text=True, check=True
    )
    return [without_everywhere(entry) for entry in re.findall(r"^\S.*\n(?:\s.*\n)*", done.stdout, re.MULTILINE)]


def without_everywhere(entry: str) -> str:
    """Leave out a condition that all platforms and all Pythons meet, which uv adds to most packages."""
    first, _, rest = entry.partition("\n")
    package, _, condition = first.partition(" ;")
    platforms = all(f"'{name}'" in condition for platform in PLATFORMS for name in platform)
    of_pythons = set(re.findall("python_full_version . '(.*?)'", condition)) != {END_OF_PYTHONS}
    return f"{package} \\\n{rest}" if platforms and not of_pythons else entry


def torch_for_processors(pin: str) -> str:
    """The entry of torch with the wheels of PyTorch's index for processors."""
    with urlopen(f"{CPU_TORCH_INDEX}/torch/", timeout=60) as answer:  # noqa: S310 - a constant
        page = answer.read().decode()
    return torch_entry(pin, re.findall(r'href="[^"#]*/([^"/#]+)#sha256=([0-9a-f]{64})"', page))


def torch_entry(pin: str, wheels: Iterable[tuple[str, str]]) -> str:
    """pin: torch==VERSION. wheels: file names, whose + may be %2B, and SHA-256. Raises ValueError if one is missing."""
    version = re.escape(pin.removeprefix("torch=="))
    pythons = [f"cp{python.replace('.', '')}" for python in PYTHONS]
    wanted = [
        re.compile(rf"torch-{version}(\+|%2B)?(cpu)?-{python}-{python}-{platform}\.whl")
        for python in pythons
        for platform in PLATFORMS.values()
    ]
    hashes = sorted(digest for name, digest in wheels if any(pattern.fullmatch(name) for pattern in wanted))
    if len(hashes) != len(wanted):
        raise ValueError(f"{CPU_TORCH_INDEX} has {len(hashes)} of {len(wanted)} wheels of {pin}")
    return " \\\n".join([pin, *(f"    --hash=sha256:{digest}" for digest in hashes)]) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
