"""The tests that `make test` leaves to `.ci/full`, chosen by how long they took, in tests/long_tests.txt.

To choose again:

    : > tests/long_tests.txt
    pytest -o junit_family=xunit1 --junitxml=report.xml
    python -m tests.support.long_tests report.xml
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

LIST = Path(__file__).parents[1] / "long_tests.txt"
FURTHER_CASES = "[...]"
"""Behind the name of a test in the list: its first case is run."""
ALWAYS = frozenset(
    {
        "tests/compat/test_recorded_bodies.py",
        "tests/compat/test_recorded_clients.py",
        "tests/test_access.py",
        "tests/test_architecture.py",
    }
)
"""Modules that `make test` runs whole: what real clients send, who may do what, and which way imports point."""
CASES_SECONDS = 0.4
"""A test with parameters that takes longer runs with the first of them."""
SHORT_SECONDS = 0.3
"""What takes less is run."""
MODULE_SECONDS = 2.0
MODULE_SHARE = 0.15
"""Each module has this share of its time, and at least these seconds, for its shortest tests."""
LONGEST_SECONDS = 10.0
"""One test of a module is run even if it takes longer than that, but for those that take longer than this."""


def mark_long_tests(items: Iterable[pytest.Item]) -> None:
    """Mark the tests of the list `full`, which leaves them out by default."""
    listed = set(LIST.read_text().split())
    for item in items:
        name = item.nodeid.partition("[")[0]
        case = getattr(item, "callspec", None)
        is_further = case is not None and any(case.indices.values())
        if name in listed or (is_further and name + FURTHER_CASES in listed):
            item.add_marker(pytest.mark.full)


def choose(seconds: dict[str, list[float]]) -> Iterator[str]:
    """Return the lines of the list. seconds: of each case of a test, by `path::name`."""
    modules: dict[str, list[str]] = defaultdict(list)
    for name in seconds:
        modules[name.partition("::")[0]].append(name)
    for module in modules.keys() - ALWAYS:
        names = modules[module]
        have_further = {name for name in names if len(seconds[name]) > 1 and sum(seconds[name]) > CASES_SECONDS}
        costs = {name: max(seconds[name]) if name in have_further else sum(seconds[name]) for name in names}
        left = max(MODULE_SECONDS, MODULE_SHARE * sum(sum(seconds[name]) for name in names))
        for number, name in enumerate(sorted(names, key=costs.__getitem__)):
            left -= costs[name]
            may_be_alone = number == 0 and costs[name] <= LONGEST_SECONDS
            if not may_be_alone and left < 0 and costs[name] > SHORT_SECONDS:
                yield name
            elif name in have_further:
                yield name + FURTHER_CASES


def seconds_in(report: Path) -> dict[str, list[float]]:
    """Return the seconds of each case, with its fixtures, of a report of pytest in the format xunit1."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # of our own tests
        path = case.attrib["file"]
        inside = case.attrib["classname"].removeprefix(path.removesuffix(".py").replace("/", ".")).strip(".")
        name = case.attrib["name"].partition("[")[0]
        seconds["::".join([path, *inside.split(".")] if inside else [path]) + f"::{name}"].append(
            float(case.attrib["time"])
        )
    return seconds


if __name__ == "__main__":
    LIST.write_text("".join(f"{line}\n" for line in sorted(choose(seconds_in(Path(sys.argv[1]))))))
