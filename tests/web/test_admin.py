"""The pages of administrators: review, dashboard, usage, audit log, and Django's own pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import override

from accounts.audit import Action
from accounts.models import ApiKey, AuditEntry, User
from accounts.recorded_admin import NOT_RECORDED
from inpainting.admin import generations as review
from inpainting.admin.dashboard import percentile
from inpainting.engines import registry
from inpainting.generations.description import message_of
from inpainting.generations.review import give_verdict
from inpainting.models import Analysis, Generation, InferenceModel, ModelState, Status, UserLimits, Verdict
from tests.conftest import png
from tests.support.analyses import queued

Generate = Callable[..., Generation]
LIST = "/admin/inpainting/generation/"


@pytest.fixture
def administrator(client: Client, db: None) -> User:
    administrator = User.objects.create_superuser("boss@example.com", "a long one")
    client.force_login(administrator)
    return administrator


def page_of(generation: Generation) -> str:
    return f"{LIST}{generation.pk}/change/"


def hide(generation: Generation) -> None:
    image = generation.images.get()
    image.write_hidden(b"as it was painted")
    image.report["hidden_by"] = "black"
    image.save()


def listed(client: Client, query: str = "") -> list[Generation]:
    """The generations of a page of the list, in its order."""
    return [row["generation"] for row in client.get(f"{LIST}?{query}").context["rows"]]


# The review of one generation


def test_source_mask_and_result_are_shown_with_the_settings_as_rows(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    generation = generate(alice, prompt="a lawn", seed=7)
    page = client.get(page_of(generation)).content.decode()
    for which in ("source", "mask", "0"):
        url = f"/admin/inpainting/generation/{generation.pk}/picture/{which}"
        assert f'href="{url}/"' in page
        assert f'src="{url}-preview/"' in page
        assert client.get(f"{url}/")["Content-Type"] == "image/png"
        assert client.get(f"{url}-preview/")["Content-Type"] == "image/webp"
    for which in ("7", "source-huge", "mask-small"):
        assert client.get(f"{LIST}{generation.pk}/picture/{which}/").status_code == 404
    assert '<th scope="row">Seed</th><td class="break" dir="auto">7</td>' in page
    assert '<th scope="row">Without effect</th><td class="break" dir="auto">Denoising strength' in page
    assert "denoising_strength" not in page
    Path(generation.mask.file.path).unlink()
    gone = client.get(f"{LIST}{generation.pk}/picture/mask/", headers={"accept-language": "de"})
    assert (gone.status_code, gone.text) == (410, "Die Datei dieses Bilds ist nicht mehr da.")


def test_the_review_is_in_the_language_of_the_page(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    generation = generate(alice)
    german = {"accept-language": "de"}
    names = [str(field.label) for field in client.get(LIST, headers=german).context["filters"].visible_fields()]
    assert not {"Verdict", "Status", "State", "Service"} & set(names)
    page = client.get(page_of(generation), headers=german)
    rows = [str(value) for _, value in page.context["recipe"]]
    assert generation.engine_reason
    assert generation.engine_reason not in rows
    with override("de"):
        assert message_of(generation, generation.engine_reason) in rows


def test_a_verdict_is_saved_and_the_next_generation_of_the_filtered_list_follows(
    client: Client, administrator: User, alice: User, bob: User, generate: Generate
) -> None:
    oldest, other, newest = generate(alice), generate(bob), generate(alice)
    sent = {"verdict": "fine", "note": "well done", "advance": "1", "query": f"user={alice.pk}"}
    answer = client.post(f"{LIST}{newest.pk}/verdict/", sent)
    assert answer["Location"] == f"{page_of(oldest)}?user={alice.pk}"
    newest.refresh_from_db()
    assert (newest.verdict, newest.review_note, newest.reviewed_by) == ("fine", "well done", administrator)
    answer = client.post(f"{LIST}{oldest.pk}/verdict/", sent)  # the last one of the list
    assert answer["Location"] == f"{page_of(oldest)}?user={alice.pk}"
    page = client.get(page_of(other)).context
    assert (page["next"], page["previous"]) == (page_of(oldest), page_of(newest))
    assert "well done" in client.get(page_of(newest)).content.decode()


def test_a_removal_without_a_reason_is_refused(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    generation = generate(alice)
    page = client.post(f"{LIST}{generation.pk}/verdict/", {"verdict": "removed"}, follow=True)
    assert "Give the reason" in page.content.decode()
    generation.refresh_from_db()
    assert generation.verdict == Verdict.NONE


def test_a_hidden_result_is_no_part_of_the_page_and_opening_it_is_recorded(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    generation = generate(alice)
    hide(generation)
    url = f"/generations/{generation.pk}/hidden/0/"
    page = client.get(page_of(generation)).content.decode()
    assert f'src="{url}"' not in page
    assert f'href="{url}"' in page
    assert not AuditEntry.objects.exists()
    assert client.get(url).status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject) == (administrator, Action.HIDDEN_RESULT, alice)


def test_a_reviewer_without_the_right_to_change_gives_no_verdict(
    client: Client, alice: User, generate: Generate
) -> None:
    from django.contrib.auth.models import Permission

    generation = generate(alice)
    reader = User.objects.create_user("reader@example.com", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_generation"))
    client.force_login(reader)
    page = client.get(page_of(generation)).content.decode()
    assert 'name="verdict"' not in page
    assert client.post(f"{LIST}{generation.pk}/verdict/", {"verdict": "fine"}).status_code == 403
    assert client.get(LIST).context["actions"] == {}
    for action in ("fine", "delete"):
        sent = {"action": action, "selected": [generation.pk], "confirmed": "on"}
        assert client.post(f"{LIST}selected/", sent).status_code == 403
    assert Generation.objects.get().verdict == Verdict.NONE


# The list


def test_the_list_filters_by_every_property(
    client: Client, administrator: User, alice: User, bob: User, generate: Generate
) -> None:
    wanted = generate(alice, prompt="A Stone path", engine="quick-fill")
    other = generate(bob, prompt="a lawn", run=False)
    Generation.objects.filter(pk=wanted.pk).update(
        verdict=Verdict.ATTENTION, service="fooocus", created_at=datetime(2026, 3, 4, 23, 59, tzinfo=UTC)
    )
    hide(wanted)
    assert listed(client) == [other, wanted]
    for query in (
        *("q=path+stone", "q=ALICE@", f"q={wanted.pk}", "verdict=attention", "status=succeeded", "service=fooocus"),
        *(f"user={alice.pk}", "hidden=on", "before=2026-03-04", "after=2026-03-04&before=2026-03-05"),
    ):
        assert listed(client, query) == [wanted], query
    for query in ("verdict=unreviewed", "status=queued", "after=2026-03-05", f"q={other.pk}"):
        assert listed(client, query) == [other], query
    for query in ("status=no-status", "user=0", "after=never", "q=nothing", "verdict=removed&hidden=on"):
        assert listed(client, query) == [], query


def test_pages_follow_each_other_without_gaps_and_never_count_the_rows(
    client: Client, administrator: User, alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = [generate(alice, run=False) for _ in range(7)]
    Generation.objects.update(created_at=timezone.now())  # equal times, which the id puts in order
    monkeypatch.setattr(review, "PAGE_LENGTH", 3)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = client.get(f"{LIST}?status=queued")
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    seen: list[list[Generation]] = []
    while True:
        seen.append([row["generation"] for row in page.context["rows"]])
        if not page.context["older"]:
            break
        page = client.get(page.context["older"])
        assert "status=queued" in page.context["newer"]
    assert [len(rows) for rows in seen] == [3, 3, 1]
    assert sorted(row.pk for rows in seen for row in rows) == sorted(generation.pk for generation in generations)
    back = client.get(page.context["newer"])
    assert [row["generation"] for row in back.context["rows"]] == seen[1]
    back = client.get(back.context["newer"])
    assert [row["generation"] for row in back.context["rows"]] == seen[0]
    assert back.context["newer"] is None
    assert len(listed(client, "older=x-y")) == 3


def test_an_action_on_selected_generations_is_confirmed_first(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    one, two, untouched = generate(alice), generate(alice), generate(alice)
    sent: dict[str, Any] = {"action": "removed", "selected": [one.pk, two.pk, "no id"], "query": "status=succeeded"}
    confirmation = client.post(f"{LIST}selected/", sent)
    assert [row["generation"].pk for row in confirmation.context["rows"]] == [two.pk, one.pk]
    assert not Generation.objects.exclude(verdict="").exists()
    refused = client.post(f"{LIST}selected/", {**sent, "confirmed": "on"})
    assert "Give the reason" in refused.context["error"]
    done = client.post(f"{LIST}selected/", {**sent, "confirmed": "on", "note": "copied"})
    assert done["Location"] == f"{LIST}?status=succeeded"
    assert set(Generation.objects.filter(verdict="removed")) == {one, two}
    assert AuditEntry.objects.filter(action=Action.VERDICT, note="copied").count() == 2
    client.post(f"{LIST}selected/", {"action": "delete", "selected": [untouched.pk], "confirmed": "on"})
    assert set(Generation.objects.all()) == {one, two}
    assert AuditEntry.objects.filter(action=Action.DELETED, target_id=str(untouched.pk), subject=alice).exists()


# Dashboard and usage


def test_the_dashboard_shows_queue_workers_failures_times_and_the_log(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    cache.clear()
    now = timezone.now()
    waiting, running, *done = (generate(alice, engine="quick-fill", run=False) for _ in range(7))
    Generation.objects.filter(pk=waiting.pk).update(created_at=now - timedelta(minutes=2))
    ends = {"lease_until": now + timedelta(minutes=5), "started_at": now}
    Generation.objects.filter(pk=running.pk).update(status=Status.RUNNING, worker="host:1:ab", **ends)
    for seconds, one in enumerate(done[:4], start=1):
        times = {"started_at": now - timedelta(seconds=seconds), "finished_at": now}
        Generation.objects.filter(pk=one.pk).update(status=Status.SUCCEEDED, **times)
    failed = {"status": Status.FAILED, "error_code": "engine_failed"}
    Generation.objects.filter(pk=done[4].pk).update(**failed, created_at=now - timedelta(days=3))
    give_verdict([done[0].pk], Verdict.ATTENTION, note="hm", by=administrator)
    page = client.get("/admin/").context
    cpu = next(row for row in page["queues"] if row["name"] == "cpu")
    assert (cpu["waiting"], cpu["running"]) == (1, 1)
    assert cpu["oldest_seconds"] >= 120
    assert [row["generation"].worker for row in page["running"]] == ["host:1:ab"]
    assert list(page["failures"]) == [{"error_code": "engine_failed", "day": 0, "week": 1}]
    (times_row,) = page["times"]
    assert (times_row.count, round(times_row.median), round(times_row.p95)) == (4, 2, 4)
    assert page["to_review"]["attention"] == 1
    assert page["storage"]["stored"] > 0
    assert [entry.note for entry in page["entries"]] == ["hm"]
    assert "host:1:ab" in client.get("/admin/").content.decode()


def test_the_dashboard_shows_why_a_model_is_not_ready_for_its_first_request(
    client: Client, administrator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    InferenceModel.objects.create(slug="mine", label="Mine", family="sd", state=ModelState.INSTALLED)
    reasons: dict[str, str] = {}
    monkeypatch.setattr(registry, "early_failures", lambda: reasons)
    assert "Not ready at start" not in client.get("/admin/").content.decode()
    reasons["mine"] = "It is damaged."
    page = client.get("/admin/").content.decode()
    assert "Not ready at start" in page
    assert "It is damaged." in page


def test_the_number_of_queries_of_dashboard_list_and_usage_does_not_depend_on_the_rows(
    client: Client, administrator: User, alice: User, bob: User, generate: Generate
) -> None:
    def counts() -> list[int]:
        found = []
        for path in ("/admin/", LIST, "/admin/usage/"):
            cache.clear()
            with CaptureQueriesContext(connection) as queries:
                assert client.get(path).status_code == 200
            found.append(len(queries))
        return found

    give_verdict([generate(alice).pk], Verdict.FINE, note="", by=administrator)
    counts()  # fills caches of the process
    few = counts()
    give_verdict([generate(bob).pk for _ in range(4)], Verdict.REMOVED, note="no", by=administrator)
    assert counts() == few
    assert max(few) < 30


def test_usage_sums_up_what_each_user_has_and_may(
    client: Client, administrator: User, alice: User, bob: User, generate: Generate
) -> None:
    generation = generate(alice)
    UserLimits.objects.create(user=bob, per_day=3)
    UserLimits.objects.create(per_day=9)
    rows = {row["user"]: row for row in client.get("/admin/usage/").context["rows"]}
    assert (rows[alice]["count"], rows[bob]["count"]) == (1, 0)
    assert rows[alice]["seconds"] == pytest.approx(generation.seconds, abs=1e-3)
    files = [*generation.inputs.values(), *generation.images.all()]
    assert rows[alice]["stored"] == sum(file.byte_count for file in files)
    assert (rows[alice]["limits"].per_day, rows[alice]["own_limits"]) == (9, False)
    assert (rows[bob]["limits"].per_day, rows[bob]["own_limits"]) == (3, True)
    assert rows[alice]["seen"] == generation.created_at
    assert rows[bob]["seen"] is None
    assert [row["user"] for row in client.get("/admin/usage/?q=ALICE").context["rows"]] == [alice]


def test_staff_see_only_what_they_have_rights_to(client: Client, alice: User, generate: Generate) -> None:
    generate(alice)
    client.force_login(User.objects.create_user("staff@example.com", is_staff=True))
    page = client.get("/admin/").context
    assert (page["queues"], page["running"], page["storage"], page["models"], page["entries"]) == ([], [], *[None] * 3)
    assert client.get("/admin/usage/").status_code == 403
    assert client.get(LIST).status_code == 403


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (95, 10), (100, 10), (1, 1)])
def test_percentiles_are_of_the_nearest_rank(percent: int, value: int) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_dates_look_alike_on_all_pages(client: Client, administrator: User, alice: User, generate: Generate) -> None:
    User.objects.update(date_joined=datetime(2026, 3, 7, 14, 5, tzinfo=UTC))
    ApiKey.issue(administrator)
    ApiKey.objects.update(created_at=datetime(2026, 3, 7, 14, 5, tzinfo=UTC))
    Generation.objects.filter(pk=generate(alice).pk).update(created_at=datetime(2026, 3, 7, 14, 5, tzinfo=UTC))
    for path in ("/keys/", LIST, "/admin/accounts/user/", "/admin/accounts/apikey/"):
        assert "7 Mar 2026, 14:05" in client.get(path).content.decode(), path


# What Django's own pages record


def test_an_administrator_revokes_keys_and_creates_users(client: Client, administrator: User, alices_key: str) -> None:
    key = ApiKey.objects.get()
    client.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None
    revoked = AuditEntry.objects.get()
    assert (revoked.action, revoked.target_id, revoked.subject_id) == (Action.REVOKED, str(key.pk), key.owner_id)
    form = {"email": "dora@example.com", "password1": "a rather long one 42", "password2": "a rather long one 42"}
    assert client.post("/admin/accounts/user/add/", form).status_code == 302
    dora = User.objects.get(email="dora@example.com")
    assert dora.check_password("a rather long one 42")
    assert AuditEntry.objects.filter(action=Action.ADDED, subject=dora).exists()


def test_changes_are_recorded_with_the_values_before_and_after_but_for_secrets(
    client: Client, administrator: User, alice: User
) -> None:
    limits = UserLimits.objects.create(user=alice, per_day=3)
    client.post(f"/admin/inpainting/userlimits/{limits.pk}/change/", {"user": alice.pk, "per_day": 5, "weight": 1})
    changed = AuditEntry.objects.get()
    assert (changed.action, changed.subject) == (Action.CHANGED, alice)
    assert changed.changes == [("per_day", 3, 5)]
    form = {"email": "alice@new.example", "is_active": "", "is_staff": "on", "date_joined_0": "2026-01-01"}
    answer = client.post(
        f"/admin/accounts/user/{alice.pk}/change/", {**form, "date_joined_1": "00:00", "last_login_0": ""}
    )
    assert answer.status_code == 302
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert entry.after["email"] == NOT_RECORDED
    assert (entry.before["is_staff"], entry.after["is_staff"]) == (False, True)
    assert "@" not in str([entry.before, entry.after])
    client.post(f"/admin/accounts/user/{alice.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=alice.pk).exists()
    page = client.get("/admin/accounts/auditentry/")
    body = page.content.decode()
    assert body.count(f"deleted account {alice.pk}") == 3
    assert re.search(r"<h1[^>]*>Audit log</h1>", body)
    assert 'aria-label="Time"' in body


def test_switching_a_model_is_recorded(client: Client, administrator: User) -> None:
    model = InferenceModel.objects.all()[0]
    client.post(f"/models/{model.slug}/switch/", {"enabled": ""})
    entry = AuditEntry.objects.get()
    assert (entry.target_id, entry.after) == (model.slug, {"enabled": False})


def test_the_audit_log_has_no_forms_to_change_it(client: Client, administrator: User, alice: User) -> None:
    entry = AuditEntry.record(administrator, Action.CHANGED, alice)
    url = f"/admin/accounts/auditentry/{entry.pk}/"
    assert client.get(f"{url}change/").status_code == 200
    for path in (f"{url}change/", f"{url}delete/", "/admin/accounts/auditentry/add/"):
        assert client.post(path, {"post": "yes"}).status_code == 403
    sent = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    client.post("/admin/accounts/auditentry/", sent)
    assert AuditEntry.objects.count() == 1


def test_analyses_are_listed_with_their_state_and_deleted_once_they_have_ended(
    client: Client, administrator: User, alice: User
) -> None:
    path = "/admin/inpainting/analysis/"
    analysis = queued(alice, png(np.zeros((40, 40, 3), np.uint8)))
    page = client.get(f"{path}?q=alice").content.decode()
    assert f"{path}{analysis.pk}/change/" in page
    assert '<td class="field-status">queued' in page.replace("Queued", "queued")
    assert client.get(f"{path}{analysis.pk}/change/").status_code == 200
    assert client.get(f"{path}add/").status_code == 403
    assert (
        "would require deleting the following protected" in client.get(f"{path}{analysis.pk}/delete/").content.decode()
    )
    assert analysis.cancel()
    client.post(f"{path}{analysis.pk}/delete/", {"post": "yes"})
    assert not Analysis.objects.exists()


# One face


def test_users_and_the_audit_log_are_lists_of_ours(client: Client, administrator: User, alice: User, bob: User) -> None:
    bob.is_active = False
    bob.save()
    AuditEntry.record(administrator, Action.CHANGED, alice, subject=alice.pk, after={"email": NOT_RECORDED})
    page = client.get("/admin/accounts/user/").content.decode()
    assert "<title>Users – DreamLayer</title>" in page
    assert "3 users" in page
    for words in ("Select user", "Administrator", "Inactive", "Add a user", f'href="/admin/accounts/user/{bob.pk}/'):
        assert (words in page) != (words == "Select user")
    found = client.get("/admin/accounts/user/", {"q": "bob", "is_active__exact": "0"}).content.decode()
    assert "1 user<" in found
    assert alice.email not in found
    assert '<a href="?q=bob" aria-current="true">' not in found
    assert "Nothing found" in client.get("/admin/accounts/user/", {"q": "nobody"}).content.decode()
    log = client.get("/admin/accounts/auditentry/").content.decode()
    assert "1 entry<" in log
    assert "changed" in log
    assert "email: – → not recorded" in log
    assert "Any date" in log


def test_the_lists_of_ours_have_pages(client: Client, administrator: User) -> None:
    User.objects.bulk_create(User(email=f"user{number}@example.org") for number in range(60))
    first = client.get("/admin/accounts/user/", {"q": "user"})
    assert 'rel="next" href="?q=user&amp;p=2"' in first.content.decode()
    second = client.get("/admin/accounts/user/", {"q": "user", "p": "2"}).content.decode()
    assert "Page 2 of 2" in second
    assert second.count("@example.org</a>") == 10


@pytest.mark.parametrize("path", ["accounts/apikey/", "inpainting/batch/", "accounts/user/add/"])
def test_raw_tables_have_the_header_of_every_page(client: Client, administrator: User, path: str) -> None:
    page = client.get(f"/admin/{path}").content.decode()
    assert '<nav class="site-nav" aria-label="Pages">' in page
    assert '<a href="/">Editor</a>' in page
    assert ">Raw tables</a>" in page
    assert "to change" not in page
    assert "Raw tables" in client.get("/admin/").content.decode()


def test_no_action_is_chosen_for_the_selected_generations_at_first(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    generation = generate(alice)
    page = client.get(LIST).content.decode()
    assert page.index('<option value="">With the selected…</option>') < page.index("Mark as fine")
    answer = client.post(f"{LIST}selected/", {"action": "", "selected": [generation.pk]}, follow=True)
    assert "Select generations and an action." in answer.content.decode()
