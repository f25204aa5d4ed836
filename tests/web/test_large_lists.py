"""Lists of tables that grow with the use of the site count no more rows than they have pages for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from inpainting.admin import large_lists
from inpainting.models import Batch, Generation, WebhookDelivery
from tests.support.analyses import queued

LISTS = ("analysis", "batch", "webhookdelivery")


@pytest.fixture
def boss(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.com"))
    return client


@pytest.mark.parametrize("name", LISTS)
def test_an_admin_list_counts_so_many_rows_at_most(
    boss: Client, alice: User, photo_png: bytes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(large_lists, "MAX_COUNTED", 2)
    for _ in range(3):
        queued(alice, photo_png)
        Batch.objects.create(owner=alice)
        WebhookDelivery.create_test(alice, "https://alice.example/hook")
    with CaptureQueriesContext(connection) as queries:
        page = boss.get(f"/admin/inpainting/{name}/")
    changes = page.context["cl"]
    assert (changes.result_count, changes.show_full_result_count) == (2, False)
    counting = [
        query["sql"] for query in queries if f"inpainting_{name}" in query["sql"] and "COUNT(*)" in query["sql"]
    ]
    assert len(counting) == 1
    assert "LIMIT 2" in counting[0]


def test_the_list_of_the_api_counts_only_what_is_searched_for(
    alice: User, bob: User, alices_program: Client, generate: Callable[..., Generation]
) -> None:
    for prompt in ("one", "two", "two"):
        generate(alice, prompt=prompt, run=False)
    generate(bob, run=False)
    Generation.objects.filter(settings__prompt="one").update(verdict="removed")

    def counted(query: str) -> tuple[int, int]:
        """The count of the page, and the number of queries that count generations."""
        with CaptureQueriesContext(connection) as queries:
            page = alices_program.get(f"/api/generations/?{query}").json()
        sql = [query["sql"] for query in queries]
        return page["count"], sum("COUNT(*)" in text and "inpainting_generation" in text for text in sql)

    assert counted("page_size=1") == (2, 0)
    assert counted("status=queued") == (2, 1)
    assert counted("prompt=one") == (0, 1)
