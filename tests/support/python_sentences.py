"""The sentences of a Python module that `makemessages` would not find."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

MARKING = frozenset(
    {
        *("gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy", "npgettext"),
        *("sentence", "plural_sentence", "mark", "pmark", "damage_error", "refusal", "too_complex"),
    }
)
"""Functions whose literals are in the catalogs."""
FOR_PROGRAMMERS = frozenset(
    {
        *("debug", "info", "warning", "error", "exception", "critical", "log", "log_briefly"),
        *("AssertionError", "KeyError", "NotImplementedError", "RuntimeError", "TypeError", "ValueError"),
    }
)
"""Calls whose texts are in logs, or tell of a fault of the program."""
FOR_REFERENCE = frozenset({"Field", "OpenApiParameter", "OpenApiResponse", "documented", "Counter", "Histogram"})
"""Calls that describe the API and the metrics, in English."""
FIRST, SECOND = 0, 1
SHOWN = {
    **dict.fromkeys(("InvalidRequest", "EngineFailed", "PaintingError", "LimitReached", "HttpResponse"), FIRST),
    **dict.fromkeys(("ValidationError", "NotFound", "PermissionDenied", "Conflict"), FIRST),
    **dict.fromkeys(("message_user", "add_error", "success"), SECOND),
}
"""Calls that show one of their arguments, whether it is a whole sentence or not."""
LABELS = frozenset({"description", "empty_label", "help_text", "label", "message"})
"""Arguments of a field of a form, or of a column or an action of the admin, that are shown."""
SENTENCE = re.compile(r"[“(]?(?:[A-Z]\w*|\0)[’']?,? .*[.!?…]\)?", re.DOTALL)
"""More than one word, from a capital letter or a value to the end of a sentence."""
WORDS = re.compile(r"[A-Za-z]{2,}.* ?[a-z]{2,}", re.DOTALL)
VALUE = "\0"


def unmarked(module: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of the literals that are shown and are not given to a function that marks them: of whole
    sentences, and of what is shown by its place."""
    tree = ast.parse(module)
    passed_over = {id(part) for node in ast.walk(tree) if is_for_others(node) for part in ast.walk(node)}
    shown = {id(literal) for node in ast.walk(tree) for literal in shown_by(node)}
    for node in ast.walk(tree):
        if id(node) not in passed_over and isinstance(node, ast.JoinedStr | ast.Constant):
            text = text_of(node)
            if SENTENCE.fullmatch(text) or (id(node) in shown and WORDS.search(text)):
                yield node.lineno, text.replace(VALUE, "{}")


def is_for_others(node: ast.AST) -> bool:
    """Whether all literals below a node are marked, or not for people at the pages, as docstrings are."""
    if isinstance(node, ast.Call):
        return name_of(node.func) in MARKING | FOR_PROGRAMMERS | FOR_REFERENCE
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def shown_by(node: ast.AST) -> list[ast.expr]:
    """Return the arguments of a call that people see."""
    if not isinstance(node, ast.Call):
        return []
    name = name_of(node.func)
    if name in SHOWN:
        return node.args[SHOWN[name] : SHOWN[name] + 1]
    if name in ("display", "action") or (isinstance(node.func, ast.Attribute) and name_of(node.func.value) == "forms"):
        return [keyword.value for keyword in node.keywords if keyword.arg in LABELS]
    return []


def name_of(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def text_of(node: ast.JoinedStr | ast.Constant) -> str:
    """Return the text of a literal, with VALUE in the place of each value; "" for a literal that is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(text_of(part) if isinstance(part, ast.Constant) else VALUE for part in node.values)
