"""Every sentence that people see is marked for translation."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support import module_sentences, python_sentences
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


NOT_FOR_PAGES = {
    "accounts/management/": "printed by a command",
    "dreamlayer_site/": "printed at the start, by a command, or in the log",
    "inpainting/api/compat/": "the words of the services, in English",
    "inpainting/api/native/fields.py": "the reference of the API",
    "inpainting/api/native/schemas/": "the reference of the API",
    "inpainting/api/openapi.py": "the reference of the API",
    "inpainting/api/setting_types.py": "the reference of the API",
    "inpainting/catalog/inspection/file_recognition.py": "printed by `add_model --scan`",
    "inpainting/catalog/inspection/found_model.py": "printed by `add_model --scan`",
    "inpainting/catalog/inspection/scanning.py": "printed by `add_model --scan`",
    "inpainting/catalog/store/additions.py": "printed by `add_model --scan`",
    "inpainting/checks.py": "printed at the start",
    "inpainting/cli/": "printed by a command",
    "inpainting/core/compositing.py": "faults of the program",
    "inpainting/core/credentials.py": "in a manifest, which is in English",
    "inpainting/core/image.py": "faults of the program",
    "inpainting/management/": "printed by a command",
    "inpainting/metrics.py": "descriptions of metrics",
    "inpainting/networks/unpickled.py": "printed by a process of its own",
    "inpainting/worker/queue/queue_metrics.py": "descriptions of metrics",
}
"""Modules of Python whose sentences no page and no answer of the native API shows, and where they are instead."""
IN_ENGLISH = frozenset(
    {
        *("No image file provided", "No parameters provided", "No filename provided", "Only PNG files are supported"),
        *("Missing required field: {}", "Invalid parameters format: {}", "Image not found", "File not found"),
    }
)
"""Messages of a published contract (docs/extend/contracts.md)."""
FOR_COMMANDS = frozenset(
    {
        "It is {}, which is added together with a transformer.",
        "It is a network of {} that is not supported: {}.",
        "Not installed, because they may run programs: {}{}.",
    }
)
"""Sentences that commands alone print, of modules whose others pages show."""
FOR_NOBODY = frozenset(
    {
        "{} ({}…)",  # an API key in the admin: its name and prefix
        "Entries of the audit log can be neither changed nor deleted.",  # no page changes one
        "The file of this image is gone.",  # in the manifest of an archive
        "There is no model family {}.",  # a fault of the program
        "{} lies below no prefix of a dialect.",  # the same
        "On the command line: --outpaint left=256,right=256.",  # in docs/use/settings.md, as the next two
        "The CLI has no such option: it reports the lack of memory.",
        "On the command line --safety-checker takes the type and turns the checker on.",
    }
)


def test_python_has_no_unmarked_sentence() -> None:
    found: dict[str, str] = {}
    for path in (module for folder in ("accounts", "inpainting") for module in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if "/migrations/" not in name and not name.startswith(tuple(NOT_FOR_PAGES)):
            found |= {f"{name}:{line}": text for line, text in python_sentences.unmarked(path.read_text())}
    assert {place: text for place, text in found.items() if text not in IN_ENGLISH | FOR_COMMANDS | FOR_NOBODY} == {}
    assert set(found.values()) == IN_ENGLISH | FOR_COMMANDS | FOR_NOBODY, "what is excepted is still there"


def test_modules_whose_sentences_no_page_shows_are_still_there() -> None:
    assert [place for place in NOT_FOR_PAGES if not (ROOT / place).exists()] == []


@pytest.mark.parametrize(
    "code",
    [
        'raise InvalidRequest("no engine has this name")',
        'raise ValidationError({"days": "At most 9 days are allowed."})',
        'raise ValidationError(f"At most {longest} days")',
        'MESSAGE = "The file is gone."',
        'notes.append(f"{name} was not used.")',
        'name = forms.CharField(label="Name of the key")',
        '@admin.display(description="last used")\ndef used(): ...',
        'self.message_user(request, "All deleted")',
        'message = gettext("Saved.") + "Open it."',
    ],
)
def test_an_unmarked_sentence_of_python_is_found(code: str) -> None:
    assert len(list(python_sentences.unmarked(code))) == 1


def test_marked_sentences_logs_docstrings_and_faults_of_the_program_are_not_reported() -> None:
    lines = [
        '"""Reads a file. It may be gone."""',
        'raise InvalidRequest(sentence("There is no engine called {name}.", name=name))',
        'logger.warning("The file %s is gone.", name)',
        'raise ValueError(f"No scheduler is called {name}.")',
        'LABELS = {"name": mark("Name of the key.")}',
        'path = f"{folder}/{name}.png"',
        "#: Not a sentence. At all.",
    ]
    assert list(python_sentences.unmarked("\n".join(lines))) == []


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
