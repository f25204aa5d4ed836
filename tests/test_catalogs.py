"""The catalogs of the offered languages are complete, valid and compiled."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils.translation import override, to_locale
from rest_framework import exceptions

from inpainting.api.errors import CODES
from tests.support.catalogs import LOCALE, entries
from tests.support.installation import ROOT

OFFERED = [to_locale(code) for code, _ in settings.LANGUAGES if code != "en"]
CATALOGS = [LOCALE / name / "LC_MESSAGES" / f"{domain}.po" for name in OFFERED for domain in ("django", "djangojs")]
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w*[^{}]*\}")
TAG = re.compile(r"<[^>]+>")
by_catalog = pytest.mark.parametrize("catalog", CATALOGS, ids=lambda path: str(path.relative_to(LOCALE)))


def test_every_catalog_is_offered() -> None:
    assert sorted(path.name for path in LOCALE.iterdir()) == sorted(OFFERED)


@by_catalog
def test_a_catalog_has_no_holes(catalog: Path) -> None:
    assert [message for message, _, _, texts in entries(catalog) if not all(texts)] == []
    assert "#, fuzzy" not in catalog.read_text()


@by_catalog
def test_translations_have_the_values_and_the_markup_of_their_messages(catalog: Path) -> None:
    wrong = []
    for message, plural, _, texts in entries(catalog):
        for text in texts:
            values = Counter(PLACEHOLDER.findall(text))
            if values not in (Counter(PLACEHOLDER.findall(message)), Counter(PLACEHOLDER.findall(plural or message))):
                wrong.append(text)
            if Counter(TAG.findall(text)) != Counter(TAG.findall(message)):
                wrong.append(text)
            if '"' in TAG.sub("", text) and '"' not in message:  # it would end the attribute that it stands in
                wrong.append(text)
    assert wrong == []


@by_catalog
def test_the_compiled_catalog_is_that_of_its_source(catalog: Path) -> None:
    with catalog.with_suffix(".mo").open("rb") as file:
        compiled: Any = gettext.GNUTranslations(file)
    texts = {key: text for key, text in compiled._catalog.items() if key}
    expected: dict[Any, str] = {}
    for message, plural, context, translations in entries(catalog):
        key = f"{context}\x04{message}" if context else message
        if plural:
            expected |= {(key, number): text for number, text in enumerate(translations)}
        else:
            expected[key] = translations[0]
    assert texts == expected


@pytest.mark.parametrize("code", [code for code, _ in settings.LANGUAGES if code != "en"])
def test_errors_of_the_rest_framework_are_in_every_language(code: str) -> None:
    kinds = (*CODES, exceptions.AuthenticationFailed, exceptions.NotFound, exceptions.PermissionDenied)
    names = ("default_detail", "extra_detail_singular", "extra_detail_plural")
    words = [getattr(kind, name) for kind in kinds for name in names if hasattr(kind, name)]
    with override("en"):
        english = {str(text) for text in words}
    with override(code):
        assert {str(text) for text in words} & english == set()


@by_catalog
def test_a_catalog_says_that_a_machine_made_it(catalog: Path) -> None:
    assert catalog.read_text().startswith("# machine-translated, corrections welcome\n")


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="needs GNU gettext")
@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_the_catalogs_have_the_sentences_of_the_code(domain: str, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().splitlines():
        if name.startswith(("accounts/", "dreamlayer_site/", "inpainting/", "static/js/", "templates/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    (copy / "locale").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        patch.setattr(settings, "LOCALE_PATHS", [copy / "locale"])
        call_command("makemessages", locale=["de"], domain=domain, verbosity=0)

    def messages(locale: Path, name: str) -> set[tuple[str, str]]:
        return {
            (message, context) for message, _, context, _ in entries(locale / name / "LC_MESSAGES" / f"{domain}.po")
        }

    collected = messages(copy / "locale", "de")
    for name in OFFERED:
        assert messages(LOCALE, name) == collected
