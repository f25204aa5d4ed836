"""The list of the tests that `make test` leaves out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import long_tests
from tests.support.long_tests import FURTHER_CASES, LIST, choose, mark_long_tests, seconds_in


def test_each_entry_is_a_test() -> None:
    root = LIST.parents[1]
    entries = LIST.read_text().split()
    assert entries == sorted(set(entries))
    contracts = "".join(path.read_text() for path in (root / "tests/contracts").glob("*.py"))
    missing = []
    for entry in entries:
        module, *classes, name = entry.removesuffix(FURTHER_CASES).split("::")
        text = (root / module).read_text() if (root / module).exists() else ""
        if f"def {name}(" not in text and not (classes and text and f"def {name}(" in contracts):
            missing.append(entry)
    assert not missing, "renamed or removed: take them out of tests/long_tests.txt"


@pytest.mark.usefixtures("_listed")
def test_listed_tests_are_marked_but_the_first_case_where_it_is_run() -> None:
    marked: list[str] = []
    mark_long_tests([item(name, indices, marked) for name, indices in CASES])  # type: ignore[misc]
    assert marked == ["tests/a.py::long", "tests/a.py::cases[1-0]", "tests/a.py::cases[0-1]"]


CASES = [
    ("tests/a.py::long", None),
    ("tests/a.py::short", None),
    ("tests/a.py::cases[0-0]", {"x": 0, "y": 0}),
    ("tests/a.py::cases[1-0]", {"x": 1, "y": 0}),
    ("tests/a.py::cases[0-1]", {"x": 0, "y": 1}),
]


@pytest.fixture
def _listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_tests, "LIST", tmp_path / "list.txt")
    long_tests.LIST.write_text("tests/a.py::long\ntests/a.py::cases[...]\n")


def item(name: str, indices: dict[str, int] | None, marked: list[str]) -> SimpleNamespace:
    case = {} if indices is None else {"callspec": SimpleNamespace(indices=indices)}
    return SimpleNamespace(nodeid=name, add_marker=lambda mark: marked.append(name), **case)


def test_each_module_keeps_its_shortest_tests() -> None:
    seconds = {
        "tests/a.py::test_short": [0.1],
        "tests/a.py::test_of_cases": [0.4, 0.4],
        "tests/a.py::test_long": [1.4],
        "tests/a.py::test_longer": [3.0],
        "tests/b.py::test_alone": [9.0],
        "tests/c.py::test_too_long": [60.0],
        "tests/test_access.py::test_routes": [60.0, 60.0],
    }
    expected = ["tests/a.py::test_longer", "tests/a.py::test_of_cases[...]", "tests/c.py::test_too_long"]
    assert sorted(choose(seconds)) == expected


def test_a_report_of_pytest_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.a" name="test_x[1]" file="tests/a.py" time="0.5" />'
        '<testcase classname="tests.a" name="test_x[2]" file="tests/a.py" time="1.5" />'
        '<testcase classname="tests.a.TestB" name="test_y" file="tests/a.py" time="2" /></testsuite></testsuites>'
    )
    assert seconds_in(report) == {"tests/a.py::test_x": [0.5, 1.5], "tests/a.py::TestB::test_y": [2.0]}
