"""The history: search, filters, edit trees, and what is done with a selection."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from inpainting.generations import shares
from inpainting.generations.delete import delete
from inpainting.models import Generation, Share

pytestmark = pytest.mark.django_db

Generate = Callable[..., Generation]


@pytest.fixture
def alices_browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def continued(parent: Generation, **settings: Any) -> Generation:
    """A further step, which waits."""
    child = parent.copy_for_rerun()
    child.settings = {**child.settings, **settings}
    child.save_new()
    return child


def shown(client: Client, **query: Any) -> list[Any]:
    """The primary keys of the cards, in their order."""
    return [card["generation"].pk for card in client.get("/history/", query).context["cards"]]


def test_the_history_can_be_searched_and_filtered(alice: User, alices_browser: Client, generate: Generate) -> None:
    lawn, path = generate(alice, prompt="A green lawn"), generate(alice, run=False)
    week = timezone.now() - timedelta(days=7)
    Generation.objects.filter(pk=path.pk).update(created_at=week, service="toy", is_favourite=True)
    assert shown(alices_browser) == [lawn.pk, path.pk]
    assert shown(alices_browser, text="LAWN green") == [lawn.pk]
    assert shown(alices_browser, text="photo.png") == [lawn.pk, path.pk]
    assert shown(alices_browser, text="nothing") == []
    assert shown(alices_browser, status="succeeded") == [lawn.pk]
    assert shown(alices_browser, service="toy") == [path.pk]
    assert shown(alices_browser, engine="quick-fill") == [lawn.pk, path.pk]
    assert shown(alices_browser, favourite="on") == [path.pk]
    today = timezone.localdate()
    assert shown(alices_browser, since=today.isoformat()) == [lawn.pk]
    assert shown(alices_browser, until=(today - timedelta(days=1)).isoformat()) == [path.pk]
    assert shown(alices_browser, until=today.isoformat()) == [lawn.pk, path.pk]
    for nonsense in ("status", "engine", "service", "since", "tree", "page"):
        assert shown(alices_browser, **{nonsense: "x"}) == [lawn.pk, path.pk]


def test_the_links_between_pages_keep_the_search(alice: User, alices_browser: Client, generate: Generate) -> None:
    made = [generate(alice, prompt="a lawn", run=False).pk for _ in range(25)]
    page = alices_browser.get("/history/", {"text": "lawn"})
    assert page.context["newer"] is None
    older = page.context["older"]
    assert older.startswith("?text=lawn&older=")
    assert f'rel="next" href="{older.replace("&", "&amp;")}"' in page.content.decode()
    second = alices_browser.get(f"/history/{older}")
    assert [card["generation"].pk for card in second.context["cards"]] == made[:1]
    assert second.context["older"] is None
    first = alices_browser.get(f"/history/{second.context['newer']}")
    assert [card["generation"].pk for card in first.context["cards"]] == made[:0:-1]


def test_the_steps_of_a_photo_are_one_entry(alice: User, alices_browser: Client, generate: Generate) -> None:
    first, alone = generate(alice), generate(alice)
    second = continued(first, prompt="a lawn")
    third = continued(second, prompt="")
    page = alices_browser.get("/history/")
    photo, other = page.context["cards"]
    assert (photo["generation"].pk, other["generation"].pk) == (third.pk, alone.pk)
    assert photo["pks"] == [third.pk, second.pk, first.pk]
    assert [step["generation"].pk for step in photo["strip"]] == [first.pk, second.pk, third.pk]
    assert photo["thumbnail"] == f"/api/generations/{first.pk}/images/0/thumbnail/", "the newest result"
    assert photo["before"] == f"/api/generations/{first.pk}/source/thumbnail/"
    assert photo["title"] == "photo.png"
    assert other["strip"] == []
    content = page.content.decode()
    assert "3 steps" in content
    assert '<span id="history-count">2</span> photos' in content
    assert f'value="{third.pk},{second.pk},{first.pk}"' in content
    assert shown(alices_browser, text="lawn") == [second.pk]
    alices_browser.post("/history/delete/", {"generation": f"{third.pk},{second.pk},x"})
    assert shown(alices_browser) == [alone.pk, first.pk]
    alices_browser.post("/history/restore/", {"generation": [str(third.pk), str(second.pk)]})
    assert shown(alices_browser) == [third.pk, alone.pk]


def test_a_photo_stays_one_entry_when_its_first_step_is_gone(
    alice: User, alices_browser: Client, generate: Generate
) -> None:
    first = generate(alice)
    second, third = continued(first), continued(first)
    assert delete(first)
    (photo,) = alices_browser.get("/history/").context["cards"]
    assert photo["pks"] == [third.pk, second.pk]


def test_days_are_headings_in_the_time_zone_of_the_browser(
    alice: User, alices_browser: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    for hours in (0.1, 1, 24, 48):
        Generation.objects.filter(pk=generate(alice).pk).update(created_at=now - timedelta(hours=hours))

    def days() -> list[tuple[str, int]]:
        return [(day["name"], len(day["cards"])) for day in alices_browser.get("/history/").context["days"]]

    assert days() == [("Today", 2), ("Yesterday", 1), ("23 November 2026", 1)]
    alices_browser.cookies["time_zone"] = "Europe/Berlin"
    assert days() == [("Today", 1), ("Yesterday", 2), ("24 November 2026", 1)]
    alices_browser.cookies["time_zone"] = "America/New_York"
    assert "18:24" in alices_browser.get("/history/").content.decode()
    alices_browser.cookies["time_zone"] = "Asia/Kathmandu"
    assert days() == [("Today", 2), ("Yesterday", 1), ("24 November 2026", 1)]
    assert shown(alices_browser, since="2026-11-26") != []
    for nonsense in ("", "Europe", "../etc/passwd", "Nowhere/City", "x"):
        alices_browser.cookies["time_zone"] = nonsense
        assert days()[-1] == ("23 November 2026", 1)


def test_the_steps_of_a_photo_are_listed_oldest_first(alice: User, alices_browser: Client, generate: Generate) -> None:
    first, alone = generate(alice), generate(alice)
    second = continued(first)
    assert shown(alices_browser, tree=second.pk) == [first.pk, second.pk]
    page = alices_browser.get("/history/", {"tree": str(first.pk)}).content.decode()
    assert "Step 2, from step 1" in page
    assert "steps of this photo" not in alices_browser.get(f"/generations/{alone.pk}/").content.decode()
    assert "2 steps of this photo" in alices_browser.get(f"/generations/{first.pk}/").content.decode()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's plans depend on its statistics")
def test_no_query_of_the_page_reads_the_whole_history(alice: User, alices_browser: Client, generate: Generate) -> None:
    """A user's rows are searched by indexes in their order, and neither read as a whole nor sorted."""
    continued(generate(alice))
    alices_browser.get("/history/")
    with CaptureQueriesContext(connection) as queries:
        alices_browser.get("/history/")
    by_last_step = {query["sql"] for query in queries if "NOT EXISTS" in query["sql"]}
    assert len(by_last_step) == 2, "the page and the count"
    for sql in by_last_step:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = [row[3] for row in cursor.fetchall()]
        text = "\n".join(plan)
        assert "SEARCH inpainting_generation USING INDEX generation_of_owner (owner_id=?)" in text
        assert "generation_of_tree (root=? AND owner_id=? AND created_at>?)" in text
        assert "TEMP B-TREE" not in text
        assert not [line for line in plan if line.startswith("SCAN") and line != "SCAN subquery"]


def test_a_longer_history_takes_no_more_queries(alice: User, alices_browser: Client, generate: Generate) -> None:
    alices_browser.get("/history/")
    counts = []
    for more in (1, 5):
        for _ in range(more):
            generate(alice, run=False)
        with CaptureQueriesContext(connection) as queries:
            alices_browser.get("/history/")
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 11, "\n".join(query["sql"][:160] for query in queries)


def test_a_selection_is_deleted_and_restored(
    alice: User, bob: User, alices_browser: Client, generate: Generate
) -> None:
    one, two, theirs = generate(alice), generate(alice), generate(bob)
    body = {"generation": [str(one.pk), str(theirs.pk), "x"], "next": "/history/?text=photo"}
    assert alices_browser.post("/history/delete/", body)["Location"] == "/history/?text=photo"
    assert shown(alices_browser) == [two.pk]
    page = alices_browser.get("/history/")
    assert page.context["deleted"] == [one.pk]
    assert 0 < page.context["undo_seconds"] <= 30
    assert alices_browser.post("/history/restore/", {"generation": str(one.pk)})["Location"] == "/history/"
    assert shown(alices_browser) == [two.pk, one.pk]
    assert Generation.objects.get(pk=theirs.pk).deleted_at is None


def test_favourites_are_marked_one_by_one_or_together(
    alice: User, bob: User, alices_browser: Client, generate: Generate
) -> None:
    one, two, theirs = generate(alice), generate(alice), generate(bob)
    alices_browser.post("/history/favourite/", {"star": str(one.pk), "generation": str(two.pk)})
    assert shown(alices_browser, favourite="on") == [one.pk]
    alices_browser.post("/history/favourite/", {"unstar": str(one.pk), "generation": str(two.pk)})
    assert shown(alices_browser, favourite="on") == []
    alices_browser.post("/history/favourite/", {"generation": [str(one.pk), str(two.pk), str(theirs.pk)]})
    assert shown(alices_browser, favourite="on") == [two.pk, one.pk]
    assert not Generation.objects.get(pk=theirs.pk).is_favourite


def test_a_selection_is_downloaded_as_a_zip(alice: User, bob: User, alices_browser: Client, generate: Generate) -> None:
    done, theirs, waiting = generate(alice), generate(bob), generate(alice, run=False)
    body = {"generation": [str(done.pk), str(waiting.pk), str(theirs.pk)]}
    archive = alices_browser.post("/history/download/", body)
    assert archive["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.getvalue())) as content:
        assert sorted(content.namelist()) == ["manifest.json", "photo.png"]
        assert content.read("photo.png") == Path(done.images.get().file.path).read_bytes()
    nothing = alices_browser.post("/history/download/", {"generation": str(waiting.pk), "next": "//evil.example/"})
    assert (nothing.status_code, nothing["Location"]) == (302, "/history/")


def test_visitors_can_do_nothing_with_a_selection(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    for action in ("delete", "restore", "favourite", "download"):
        path = f"/history/{action}/"
        assert Client().post(path, {"generation": str(generation.pk)})["Location"].startswith("/accounts/login/")
        assert Client().get(path).status_code == 405
    assert Generation.objects.get().deleted_at is None


def test_a_shared_link_shows_the_result_alone(alice: User, alices_browser: Client, generate: Generate) -> None:
    generation = generate(alice, prompt="a secret garden")
    page = f"/generations/{generation.pk}/"
    assert alices_browser.post(f"{page}share/", {"index": 0, "days": 7})["Location"] == f"{page}#share"
    link = f"/shared/{shares.token(Share.objects.get())}/"
    assert link in alices_browser.get(page).content.decode()
    visitor = Client()
    content = visitor.get(link).content.decode()
    for private in ("secret garden", "photo.png", alice.email, str(generation.pk), str(generation.source_id)):
        assert private not in content
    for path in (link, f"{link}picture/", f"{link}preview/"):
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert "noindex" in answer["X-Robots-Tag"]
        assert answer["Cache-Control"] == "private, no-store"
        assert answer["Referrer-Policy"] == "no-referrer"
    stored = Path(generation.images.get().file.path).read_bytes()
    assert visitor.get(f"{link}picture/").getvalue() == stored


def test_a_link_shows_the_photo_as_it_was_only_if_its_owner_chose_so(
    alice: User, alices_browser: Client, generate: Generate
) -> None:
    generation = generate(alice, prompt="a secret garden")
    page, visitor = f"/generations/{generation.pk}/", Client()
    for chosen in ({}, {"shows_source": "on", "has_preview": "on", "name": "Rocket <at> dusk"}):
        alices_browser.post(f"{page}share/", {"index": 0, "days": 7, **chosen})
    plain, open_one = (f"/shared/{shares.token(share)}/" for share in Share.objects.order_by("created_at"))
    content = visitor.get(plain).content.decode()
    assert visitor.get(f"{plain}before/").status_code == 404
    for absent in ("og:image", "before", "Before"):
        assert absent not in content
    assert '<meta property="og:title" content="A shared image">' in content
    sentence = "A photo from which something was removed with DreamLayer; nothing else was changed."
    assert f'<meta property="og:description" content="{sentence}">' in content
    content = visitor.get(open_one).content.decode()
    before = visitor.get(f"{open_one}before/")
    assert before["Content-Type"] == "image/webp"
    assert before["Cache-Control"] == "private, no-store"
    assert "Rocket &lt;at&gt; dusk – DreamLayer</title>" in content
    assert f'<meta property="og:image" content="http://testserver{open_one}preview/">' in content
    for private in ("secret garden", "photo.png", alice.email, str(generation.pk), str(generation.source_id)):
        assert private not in content
    listed = alices_browser.get(page).content.decode()
    assert "Rocket &lt;at&gt; dusk" in listed
    assert "With the photo as it was" in listed


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"ignored": []}, "A photo in which a model has painted a part from words with DreamLayer"),
        ({"placement": {"width": 1}}, "A photo that was extended beyond its edges with DreamLayer"),
    ],
)
def test_a_shared_page_says_what_was_done(
    alice: User, generate: Generate, columns: dict[str, Any], sentence: str
) -> None:
    generation = generate(alice, prompt="a lawn")
    Generation.objects.filter(pk=generation.pk).update(**columns)
    shared = shares.share(generation.images.get(), days=1)
    assert f"{sentence}; nothing else was changed." in Client().get(f"/shared/{shares.token(shared)}/").content.decode()
    generation.images.update(outside_mask_changed_pixels=3)
    assert f"{sentence}." in Client().get(f"/shared/{shares.token(shared)}/").content.decode()


def test_a_shared_link_ends_when_it_expires_or_is_revoked(
    alice: User, bob: User, alices_browser: Client, generate: Generate
) -> None:
    image = generate(alice).images.get()
    first, second = shares.share(image, days=1), shares.share(image, days=1)
    links = [
        f"/shared/{shares.token(either)}/{part}" for either in (first, second) for part in ("", "picture/", "preview/")
    ]
    Share.objects.filter(pk=first.pk).update(expires_at=timezone.now())
    bobs_browser = Client()
    bobs_browser.force_login(bob)
    assert bobs_browser.post(f"/shares/{second.pk}/revoke/").status_code == 404
    assert [Client().get(link).status_code for link in links] == [404] * 3 + [200] * 3
    assert alices_browser.post(f"/shares/{second.pk}/revoke/").status_code == 302
    assert [Client().get(link).status_code for link in links] == [404] * 6
    changed = Client().get(f"/shared/{shares.token(second)[:-1]}x/")
    assert changed.status_code == 404
    for page in (changed, Client().get(links[0])):
        assert "This link has ended" in page.content.decode()
        assert "noindex" in page["X-Robots-Tag"]


@pytest.mark.parametrize(
    "body",
    [{}, {"index": 0}, {"index": 7, "days": 7}, {"index": 0, "days": 400}, {"index": 0, "days": 7, "name": "x" * 101}],
)
def test_an_invalid_share_makes_no_link(
    alice: User, alices_browser: Client, generate: Generate, body: dict[str, Any]
) -> None:
    alices_browser.post(f"/generations/{generate(alice).pk}/share/", body)
    assert not Share.objects.exists()


def test_the_page_of_a_generation_says_in_words_what_was_done(
    alice: User, alices_browser: Client, generate: Generate
) -> None:
    erased, painted = generate(alice), generate(alice, prompt="a lawn", output_format="jpeg")
    page = alices_browser.get(f"/generations/{erased.pk}/")
    assert page.context["summary"].startswith("Removed in ")
    assert page.context["summary"].endswith(" s, nothing else touched.")
    page = alices_browser.get(f"/generations/{painted.pk}/")
    assert page.context["summary"].startswith("Removed in "), "quick fill does not read the prompt"
    Generation.objects.filter(pk=painted.pk).update(ignored=[])
    page = alices_browser.get(f"/generations/{painted.pk}/")
    assert page.context["summary"].startswith("Painted in ")
    assert page.content.decode().lower().count("jpeg") == 1, "the format is in one row"
    placed = {**erased.settings, "insert_mode": "clone"}
    Generation.objects.filter(pk=erased.pk).update(settings=placed, ignored=[])
    assert alices_browser.get(f"/generations/{erased.pk}/").context["summary"].startswith("Inserted in ")
    Generation.objects.filter(pk=erased.pk).update(ignored=["insert_mode"])
    assert alices_browser.get(f"/generations/{erased.pk}/").context["summary"].startswith("Removed in ")
