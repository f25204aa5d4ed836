"""`parent`: the generation that a request continues, and the edit tree that parents make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import User
from inpainting.generations.delete import delete
from inpainting.models import Generation
from tests.api.bodies import shape_a, shape_c

pytestmark = pytest.mark.django_db(transaction=True)

Generate = Callable[..., Generation]


def continued(client: Client, parent: object, photo_png: bytes, mask_png: bytes) -> str:
    """The id of a new generation with that parent."""
    answer = client.post("/api/img2img", shape_a(photo_png, mask_png, parent=str(parent)))
    assert answer.status_code == 200, answer.content
    return str(answer.json()["id"])


def tree(client: Client, of: object) -> set[str]:
    return {result["id"] for result in client.get("/api/generations/", {"tree": str(of)}).json()["results"]}


def test_a_generation_has_the_parent_that_was_sent(
    alice: User, alices_program: Client, generate: Generate, photo_png: bytes, mask_png: bytes
) -> None:
    first = generate(alice)
    child = continued(alices_program, first.pk, photo_png, mask_png)
    body = shape_c(photo_png, mask_png, parent=str(first.pk))
    by_json = alices_program.post("/api/img2img", body, content_type="application/json").json()
    assert by_json["metadata"]["parent"] == str(first.pk)
    whole = alices_program.get(f"/api/generations/{child}/").json()
    assert (whole["parent"], whole["metadata"]["parent"]) == (str(first.pk), str(first.pk))
    root = alices_program.get(f"/api/generations/{first.pk}/").json()
    assert (root["parent"], root["children"]) == (None, [child, by_json["id"]])
    listed = {result["id"]: result["parent"] for result in alices_program.get("/api/generations/").json()["results"]}
    assert listed == {str(first.pk): None, child: str(first.pk), by_json["id"]: str(first.pk)}


def test_a_parent_must_be_a_generation_of_the_caller(
    bob: User, alices_program: Client, generate: Generate, photo_png: bytes, mask_png: bytes
) -> None:
    errors = []
    for parent in (generate(bob).pk, uuid4()):
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, parent=str(parent)))
        errors.append((answer.status_code, answer.json()))
    assert errors[0] == errors[1]
    status, problem = errors[0]
    assert (status, problem["code"], problem["field"]) == (400, "parent_unknown", "parent")
    malformed = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, parent="the first"))
    assert (malformed.status_code, malformed.json()["code"]) == (400, "field_invalid")
    assert Generation.objects.count() == 1


def test_an_edit_tree_is_listed_from_any_of_its_generations(
    alice: User, bobs_program: Client, alices_program: Client, generate: Generate, photo_png: bytes, mask_png: bytes
) -> None:
    root, alone = generate(alice), generate(alice)
    left = continued(alices_program, root.pk, photo_png, mask_png)
    right = continued(alices_program, root.pk, photo_png, mask_png)
    leaf = continued(alices_program, left, photo_png, mask_png)
    again = alices_program.post(f"/api/generations/{leaf}/run-again/").json()["id"]
    whole = {str(root.pk), left, right, leaf, again}
    for member in whole:
        assert tree(alices_program, member) == whole
        assert tree(bobs_program, member) == set()
    assert tree(alices_program, alone.pk) == {str(alone.pk)}
    assert tree(alices_program, uuid4()) == set()
    assert alices_program.get("/api/generations/?tree=x").status_code == 400


def test_deleting_a_parent_keeps_its_children(
    alice: User, alices_program: Client, generate: Generate, photo_png: bytes, mask_png: bytes
) -> None:
    root = generate(alice)
    middle = continued(alices_program, root.pk, photo_png, mask_png)
    leaf = continued(alices_program, middle, photo_png, mask_png)
    assert delete(Generation.objects.get(pk=middle))
    kept: dict[str, Any] = alices_program.get(f"/api/generations/{leaf}/").json()
    assert (kept["parent"], kept["status"]) == (None, "succeeded")
    assert tree(alices_program, leaf) == tree(alices_program, root.pk) == {leaf, str(root.pk)}
