"""`docs/run/configuration.md` lists every environment variable of the settings file, with its default."""

from __future__ import annotations

import ast
import re

from tests.support.installation import ROOT

PAGE = (ROOT / "docs/run/configuration.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))
"""The name of each variable -> the cell of its default."""
WORDS_FOR_NOTHING = ("none", "off", "this machine's names", "SQLite in the data folder", "created once")


def variables() -> dict[str, ast.expr]:
    """Each variable that the settings file reads -> its default there."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(ast.parse((ROOT / "dreamlayer_site/settings.py").read_text())):
        if isinstance(node, ast.Call) and re.match(r"env\.\w+$", ast.unparse(node.func)) and node.args:
            name, *default = [*node.args, *(word.value for word in node.keywords if word.arg == "default")]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.setdefault(name.value, default[0])
    return found


def written(default: ast.expr) -> str | None:
    """The cell that a constant default has; None for one that is computed or empty, for which the page has words."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return None
    if value == "" or value == []:
        return None
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{','.join(value) if isinstance(value, list) else value}`"


def test_the_page_has_each_variable_and_no_other() -> None:
    assert len(ROWS) > 40
    assert ROWS.keys() == variables().keys()


def test_the_page_has_the_defaults_of_the_settings() -> None:
    constants = {name: cell for name, default in variables().items() if (cell := written(default)) is not None}
    assert len(constants) > 30
    assert {name: ROWS[name] for name in constants} == constants


def test_the_page_has_words_for_the_other_defaults() -> None:
    empty = [name for name, default in variables().items() if isinstance(default, ast.Constant) and default.value == ""]
    assert empty
    assert [name for name in empty if not ROWS[name].startswith(WORDS_FOR_NOTHING)] == []


def test_each_line_of_the_example_is_a_variable_of_the_page() -> None:
    example = re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(example) > 30
    assert [name for name in example if name not in ROWS] == []
