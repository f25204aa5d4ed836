"""Searches by words: any part of a word, without regard to case and accents, by an index or in the newest rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from inpainting.core.folding import fold
from inpainting.database import search_index
from inpainting.generations import history, search
from inpainting.generations.delete import delete_ended
from inpainting.models import Generation, Mask, SourceImage

FACTS = {"byte_count": 1, "width": 8, "height": 8}


def paint(owner: User, prompt: str, name: str = "photo.png", **columns: Any) -> Generation:
    source = SourceImage.objects.create(owner=owner, name=name, **FACTS)
    mask = Mask.objects.create(owner=owner, **FACTS)
    settings = {"prompt": prompt, "model": None}
    generation = Generation(owner=owner, source=source, mask=mask, engine="quick-fill", settings=settings, **columns)
    generation.fold()
    generation.save(force_insert=True)
    return generation


def found(owner: User, **words: str) -> list[str]:
    rows = search.search(history.of_all_users(), owner=owner.pk, **words)  # type: ignore[arg-type]
    return [generation.prompt for generation in rows]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Café", "cafe"),
        ("ÅNGSTRÖM", "angstrom"),
        ("Straße", "strasse"),
        ("ﬁne", "fine"),
        ("ΌΣΟΣ", "οσοσ"),
        ("日本", "日本"),
    ],
)
def test_case_and_accents_are_folded(text: str, folded: str) -> None:
    assert fold(text) == fold(folded) == folded


PROMPTS = ["A Café in Málaga", "a cafeteria", "ZÜRICH by night", 'say "hello" to 100% of_them', "日本の庭園"]


@pytest.mark.parametrize("index", [True, False], ids=["by the index", "without the index"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cafe", PROMPTS[:2]),
        ("CAFÉ", PROMPTS[:2]),
        ("afe", PROMPTS[:2]),
        ("cafe malaga", PROMPTS[:1]),
        ("malaga in", PROMPTS[:1]),
        ("Zuri", PROMPTS[2:3]),
        ('"hello"', PROMPTS[3:4]),
        ("00%", PROMPTS[3:4]),
        ("of_them", PROMPTS[3:4]),
        ("of%them", []),
        ("本の庭", PROMPTS[4:]),
        ("本", PROMPTS[4:]),
        ("a", [*PROMPTS[:2], PROMPTS[3]]),
        ("prompt", []),
        ("photo", []),
        ("NEAR(cafe)", []),
    ],
)
def test_words_are_found(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str], index: bool
) -> None:
    for prompt in PROMPTS:
        paint(alice, prompt)
    paint(bob, "cafe malaga zuri hello 日本の庭園")
    if not index:
        monkeypatch.setattr(search_index, "is_present", lambda: False)
    assert sorted(found(alice, prompt=words)) == sorted(expected)


def test_what_is_not_yet_folded_is_found_as_it_is_stored(alice: User) -> None:
    for prompt in PROMPTS:
        paint(alice, prompt, "Lawn.png")
    Generation.objects.filter(settings__prompt__in=PROMPTS[:3]).update(folded_prompt=None, folded_name=None)
    assert found(alice, prompt="by NIGHT") == [PROMPTS[2]]
    assert found(alice, prompt="HELLO") == [PROMPTS[3]]
    assert found(alice, prompt="cafe") == [PROMPTS[1]]
    assert len(found(alice, text="lawn")) == len(PROMPTS)


def test_names_of_files_are_found_by_text_alone(alice: User) -> None:
    paint(alice, "a lawn", "Été à la mer.png")
    assert found(alice, text="ete MER") == found(alice, text="lawn mer") == ["a lawn"]
    assert found(alice, prompt="ete") == []


def test_the_index_follows_changes_and_deletions(alice: User) -> None:
    one, two = paint(alice, "a meadow", status="succeeded"), paint(alice, "a meadow too")
    Generation.objects.filter(pk=two.pk).update(folded_prompt="a forest")
    assert search.look_up(["meadow"], owner=alice.pk, in_names=False) == [one.pk]
    assert search.look_up(["forest"], owner=None, in_names=True) == [two.pk]
    delete_ended(one.pk)
    assert search.look_up(["meadow"], owner=alice.pk, in_names=False) == []


def test_frequent_words_are_read_and_rare_ones_looked_up(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_INDEXED", 2)
    for number in range(4):
        paint(alice, f"lawn {'rare' if number < 2 else ''}")
    assert search.look_up(["lawn"], owner=alice.pk, in_names=False) is None
    assert len(search.look_up(["rare"], owner=alice.pk, in_names=False) or []) == 2
    assert len(found(alice, prompt="lawn")) == 4
    assert len(found(alice, prompt="lawn rare")) == 2


def test_short_words_are_searched_for_in_the_newest_and_the_pages_say_so(
    alice: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("generations.search", "web.history_page", "admin.search"):
        monkeypatch.setattr(f"inpainting.{module}.MAX_SHORT", 2)
    old, *_ = [paint(alice, f"an ox {number}") for number in range(3)]
    assert found(alice, text="ox") == ["an ox 2", "an ox 1"]
    assert found(alice, text="ox 0 an") == []
    said = "Words of one or two letters are searched for in your newest 2 generations only."
    client.force_login(alice)
    assert said in client.get("/history/?text=ox").content.decode()
    assert said not in client.get("/history/?text=ox+photo").content.decode()
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss@example.com"))
    page = boss.get("/admin/inpainting/generation/?q=ox").content.decode()
    assert "Words of one or two letters are searched for in the newest 2 generations only." in page
    assert f"{old.pk}" not in page
    old.delete()
    assert said not in client.get("/history/?text=ox").content.decode()


def test_generations_of_an_earlier_version_are_folded_by_sweeps(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FOLDED_AT_ONCE", 2)
    for number in range(3):
        paint(alice, f"Café {number}")
    Generation.objects.update(folded_prompt=None, folded_name=None)
    assert not search.fold_earlier()
    assert search.fold_earlier()
    assert Generation.objects.filter(folded_prompt=None).count() == 0
    assert len(search.look_up(["cafe"], owner=alice.pk, in_names=False) or []) == 3


def test_accepting_folds(alice: User, generate: Callable[..., Generation]) -> None:
    generation = generate(alice, prompt="Bäume", run=False)
    assert (generation.folded_prompt, generation.folded_name) == ("baume", "photo.png")


def test_migrate_creates_the_index(db: None) -> None:
    assert search_index.is_present()
    with CaptureQueriesContext(connection) as queries:
        search_index.install()
    assert len(queries) == 1, "there is nothing to do"


def test_a_database_that_cannot_have_the_index_is_searched_without(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paint(alice, "a meadow")
    monkeypatch.setattr(search_index, "is_present", lambda using="default": False)
    for name in ("POSTGRESQL", "SQLITE"):
        monkeypatch.setattr(search_index, name, ("CREATE EXTENSION nothing_of_this_name",))
    search_index.install()
    assert "no index of trigrams" in caplog.text
    assert found(alice, text="eado") == ["a meadow"]
