"""Django's pages of the admin, whose names come from the models, in the language of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Field
from django.test import Client, RequestFactory
from django.utils.functional import Promise

from accounts.models import User
from inpainting.models import Generation, UserLimits

ENGLISH_CHOICES = {
    ("auditentry", "action"),
    *(("inferencemodel", name) for name in ("family", "kind", "control", "source", "scheduler")),
    *(("lora", "family"), ("lora", "kind")),
}
"""The words of the audit log, which is in English, and names of the API."""


def pages(request: Any) -> Iterator[Any]:
    """The pages of tables and of what is listed within them, but for generations, which have pages of ours."""
    for model, page in admin.site._registry.items():
        if model is not Generation:
            yield page
            yield from (inline for inline in page.get_inline_instances(request))


def shown_texts(page: Any, request: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a page shows of the fields of its model: name of the field, text."""
    in_form = {*page.get_readonly_fields(request), *flatten_fieldsets(page.get_fieldsets(request))}
    in_list = set()
    if isinstance(page, admin.ModelAdmin):
        filters: Any = page.get_list_filter(request)
        in_list = {*page.get_list_display(request), *(one if isinstance(one, str) else one[0] for one in filters)}
    for field in page.opts.get_fields():
        if isinstance(field, Field) and field.name in in_form | in_list:
            yield field.name, field.verbose_name
            if field.name in in_form:
                yield field.name, field.help_text
            if (page.opts.model_name, field.name) not in ENGLISH_CHOICES:
                yield from ((field.name, label) for value, label in field.choices or () if value)


@pytest.fixture
def administrator(client: Client, db: None) -> User:
    administrator = User.objects.create_superuser("boss@example.com", "a long one")
    client.force_login(administrator)
    return administrator


def test_every_name_of_a_table_or_a_column_that_is_shown_is_marked(administrator: User) -> None:
    request = RequestFactory().get("/")
    request.user = administrator
    english, count = [], 0
    for page in pages(request):
        names = [("", page.opts.verbose_name), ("", page.opts.verbose_name_plural)]
        texts = [*names, *shown_texts(page, request)]
        english += [(page.opts.label, name, text) for name, text in texts if text and not isinstance(text, Promise)]
        count += len(texts)
    assert english == []
    assert count > 200


def test_the_names_are_in_the_language_of_the_page(
    client: Client, administrator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.translation.gettext", lambda text: f"‹{text}›")
    page = client.get("/admin/inpainting/analysis/").text
    assert "‹analyses›</h1>" in page
    assert "‹created at›" in page
    UserLimits.objects.create(user=administrator, waiting=3)
    assert "‹per minute›" in client.get("/admin/inpainting/userlimits/").text
    assert "‹last seen at›" in client.get("/admin/usersessions/usersession/").text
