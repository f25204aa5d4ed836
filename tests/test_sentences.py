"""Every sentence that people see is marked for translation."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support import module_sentences
from tests.support.installation import ROOT
from tests.support.template_sentences import unmarked

TEMPLATES = ROOT / "templates"
MODULES = ROOT / "static" / "js"
FOR_PROGRAMMERS = frozenset(
    {"editor/document/document.js", "editor/document/operations.js", "editor/raster/worker.js", "session.js"}
)
"""Modules whose errors tell of a fault of the program."""
NO_SENTENCES = frozenset(
    {
        '"dreamlayer."',
        '"left top"',
        '"right bottom"',
        '"top right"',
        '"left bottom"',
        '"signed in"',
        "`badge ${status}`",
    }
    | {"`curl ${quoted(url)}`", "`M${x} ${y}h${width}v${height}h${-width}z`"}
    | {"`rgb(${COLOUR.red} ${COLOUR.green} ${COLOUR.blue})`"}
)


REFUSALS = {"ModelRefused", "LoraRefused", "ModelUnavailable"}


def test_reasons_why_models_are_refused_are_sentences() -> None:
    found = []
    for module in sorted((ROOT / "inpainting").rglob("*.py")):
        for call in ast.walk(ast.parse(module.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in REFUSALS:
                continue
            if isinstance(call.args[0], ast.JoinedStr | ast.Constant | ast.BinOp):
                found.append(f"{module.relative_to(ROOT)}:{call.lineno}")
    assert found == []


@pytest.mark.parametrize(
    "template",
    sorted(path for path in TEMPLATES.rglob("*") if path.suffix in (".html", ".txt")),
    ids=lambda path: str(path.relative_to(TEMPLATES)),
)
def test_templates_have_no_unmarked_sentence(template: Path) -> None:
    assert list(unmarked(template.read_text())) == []


@pytest.mark.parametrize(
    "markup",
    [
        "<p>Sign in</p>",
        '<p title="Sign in">{{ name }}</p>',
        "{% if a %}Change{% endif %}",
        "{{ name|default:'not known' }}",
        "<p>{{ count }} photos</p>",
    ],
)
def test_an_unmarked_sentence_is_found(markup: str) -> None:
    assert len(list(unmarked(markup))) == 1


def test_marked_ones_and_code_are_not_reported() -> None:
    markup = '{% translate "Sign in" %}{% blocktranslate %}Page {{ n }}{% endblocktranslate %}<code>pip install</code>'
    assert list(unmarked(markup)) == []


@pytest.mark.parametrize("module", sorted(MODULES.rglob("*.js")), ids=lambda path: str(path.relative_to(MODULES)))
def test_modules_have_no_unmarked_sentence(module: Path) -> None:
    if module.relative_to(MODULES).as_posix() not in FOR_PROGRAMMERS:
        assert set(module_sentences.unmarked(module.read_text())) - NO_SENTENCES == set()


@pytest.mark.parametrize(
    "code",
    [
        'show("Open a photo first.")',
        "show(`Step ${number} of ${total}`)",
        'element("p", { textContent: "Saved" })',
        'gettext("Saved"); title = "Open"',
    ],
)
def test_an_unmarked_sentence_of_a_module_is_found(code: str) -> None:
    assert len(list(module_sentences.unmarked(code))) == 1


def test_marked_sentences_comments_and_selectors_of_modules_are_not_reported() -> None:
    lines = [
        'show(gettext("Open a photo first.")) // as it does.',
        'root.querySelector(".batch photo")',
        '/** "All done." */',
    ]
    assert list(module_sentences.unmarked("\n".join(lines))) == []
