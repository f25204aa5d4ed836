"""The pages answer, and show only the generations of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.shortcuts import render
from django.test import Client, RequestFactory
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from inpainting.api.error_handlers import server_error
from inpainting.models import Generation

Generate = Callable[..., Generation]
NAVIGATION = '<nav class="site-nav" aria-label="Pages">'


@pytest.mark.parametrize(
    "path", ["/account/", "/welcome/", "/history/", "/keys/", "/generations/00000000-0000-4000-8000-000000000000/"]
)
def test_an_anonymous_user_is_redirected_to_sign_in(client: Client, db: None, path: str) -> None:
    assert client.get(path)["Location"] == f"/accounts/login/?next={path}"


def test_the_editor_has_the_engines_and_their_ignored_settings(client: Client, alice: User) -> None:
    client.force_login(alice)
    page = client.get("/")
    assert page.context["engines"][0]["name"] == "quick-fill"
    assert page.context["plan"]["form"]["ignored"]["prompt"] == "Quick fill does not read it."
    assert "csrfmiddlewaretoken" in page.content.decode()


def test_the_history_is_empty_at_first_and_then_lists_generations(
    client: Client, alice: User, generate: Generate
) -> None:
    client.force_login(alice)
    assert client.get("/history/").context["cards"] == []
    generation = generate(alice, prompt="a <b>lawn</b>")
    page = client.get("/history/").content.decode()
    assert f"/generations/{generation.pk}/" in page
    assert "a &lt;b&gt;lawn" in page
    assert f"/api/generations/{generation.pk}/images/0/thumbnail/" in page


def test_only_the_owner_sees_the_page_of_a_generation(
    client: Client, alice: User, bob: User, generate: Generate
) -> None:
    generation = generate(alice, prompt="a lawn")
    client.force_login(alice)
    page = client.get(f"/generations/{generation.pk}/").content.decode()
    for part in ("source/", "mask/", "images/0/"):
        assert f"/api/generations/{generation.pk}/{part}" in page
    client.force_login(bob)
    assert client.get(f"/generations/{generation.pk}/").status_code == 404
    assert str(generation.pk) not in client.get("/history/").content.decode()


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled"])
def test_every_state_has_a_page(client: Client, alice: User, generate: Generate, state: str) -> None:
    generation = generate(alice, run=False)
    if state == "running":
        generation.start()
    elif state == "failed":
        generation.start()
        generation.fail(code="engine_failed", message="nothing to copy from")
    elif state == "cancelled":
        generation.cancel()
    client.force_login(alice)
    for path in ("/history/", f"/generations/{generation.pk}/"):
        page = client.get(path)
        assert page.status_code == 200
        assert state in page.content.decode().lower()


def test_a_404_page_has_the_sites_layout_and_navigation(client: Client, alice: User) -> None:
    page = client.get("/nowhere/")
    assert page.status_code == 404
    assert "css/dreamlayer.css" in page.content.decode()
    assert 'href="/accounts/login/"' in page.content.decode()
    client.force_login(alice)
    assert NAVIGATION in client.get("/nowhere/").content.decode()


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        ({"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, "text/html"),
        ({"Accept": "*/*"}, "application/json"),
        ({"Accept": "application/json"}, "application/json"),
        ({"Accept": "text/html", "X-API-Key": "dl_live_x"}, "application/json"),
        ({"Authorization": "Bearer dl_live_x"}, "application/json"),
    ],
)
def test_a_program_gets_the_404_as_json(client: Client, headers: dict[str, str], content_type: str) -> None:
    answer = client.post("/nowhere/", headers=headers)
    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (404, content_type)
    assert content_type == "text/html" or answer.json()["code"] == "not_found"


def test_a_form_that_has_expired_leads_on(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    page = client.post("/history/delete/")
    assert page.status_code == 403
    assert "This form has expired" in page.content.decode()
    assert NAVIGATION in page.content.decode()


@pytest.mark.parametrize("template", ["403.html", "429.html"])
def test_other_error_pages_have_the_navigation(rf: RequestFactory, alice: User, template: str) -> None:
    request: Any = rf.get("/")
    request.user = alice
    assert NAVIGATION in render(request, template).content.decode()


def test_the_page_of_a_server_error_needs_no_database(
    rf: RequestFactory, alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request: Any = rf.get("/history/")
    request.user = alice
    with django_assert_num_queries(0):
        page = server_error(request)
    assert page.status_code == 500
    assert "Server error" in page.content.decode()
