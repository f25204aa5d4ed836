"""The pages take the files that the server accepts: their lists are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import User
from inpainting.core.codecs import accepted
from inpainting.core.codecs.decoding import PARSERS
from inpainting.web.editor.editor_choices import FORMATS

MODULE = (Path(settings.BASE_DIR) / "static/js/photo_types.js").read_text()


def constant(name: str) -> tuple[str, ...]:
    """The strings of a constant of the module."""
    found = re.search(rf"export const {name} = (.+)", MODULE)
    assert found is not None
    return tuple(re.findall(r'"([^"]*)"', found[1]))


def test_the_module_of_the_pages_has_the_formats_of_the_codecs() -> None:
    assert constant("TYPES") == accepted.CONTENT_TYPES
    assert constant("ENDINGS") == accepted.SUFFIXES
    assert constant("FORMATS") == (accepted.ACCEPTED,) == (str(FORMATS),)
    assert list(accepted.FORMATS) == list(PARSERS)


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["/?batch", "/batches/"])
def test_file_inputs_offer_these_formats(client: Client, alice: User, page: str) -> None:
    client.force_login(alice)
    assert f'accept="{accepted.ACCEPT_ATTRIBUTE}"' in client.get(page).content.decode()


@pytest.mark.django_db
def test_visitors_may_choose_them_too(client: Client) -> None:
    assert f'accept="{accepted.ACCEPT_ATTRIBUTE}"' in client.get("/").content.decode()
