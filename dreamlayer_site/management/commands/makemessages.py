"""Django's `makemessages` for this tree: which files have sentences, and the markers of `inpainting.core.sentences`."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import makemessages

IGNORED = [
    *(".venv/*", "node_modules/*", "static/bundle/*", "var/*", "build/*"),
    *("benchmarks/*", "deploy/*", "docs/*", "tests/*", "inpainting/cli/*", "inpainting/api/compat/*"),
]


class Command(makemessages.Command):
    xgettext_options = [  # noqa: RUF012 - an attribute of the class in Django, too
        *makemessages.Command.xgettext_options,
        *("--keyword=sentence:1", "--keyword=plural_sentence:1,2", "--keyword=mark:1", "--keyword=pmark:1c,2"),
        *("--keyword=damage_error:1", "--keyword=refusal:2", "--keyword=too_complex:1"),
    ]
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]  # noqa: RUF012

    def handle(self, *args: Any, **options: Any) -> None:
        options["ignore_patterns"] = [*options["ignore_patterns"], *IGNORED]
        options |= {"add_location": "file", "no_obsolete": True, "no_wrap": True}
        super().handle(*args, **options)
