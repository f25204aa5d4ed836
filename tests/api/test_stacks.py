"""`/api/stacks/`: steps are hidden, painted back, added and replaced, and the image that they show together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import ApiKey, Scope, User
from inpainting.accounting import limits
from inpainting.core import stack as core_stack
from inpainting.core.codecs import encode_png
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.image import CanonicalImage, Mask
from inpainting.generations import delete, export, retention, stack_images
from inpainting.generations.undoable_delete import hide, restore
from inpainting.models import GeneratedImage, Generation, Stack, Status, StepMask, UserLimits
from inpainting.storage.audit import named_files
from tests.api.bodies import upload
from tests.api.stack_requests import (
    LEFT,
    MIDDLE,
    RIGHT,
    as_sent,
    chain,
    changed,
    decoded,
    disc,
    edit,
    image_of,
    patch,
    result_of,
    store,
)
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

Json = dict[str, Any]


@pytest.fixture
def deep_png(photo: NDArray[np.uint8]) -> bytes:
    """The photo in 16 bits with alpha."""
    alpha = np.broadcast_to(np.linspace(90, 255, 96), (64, 96))[:, :, None].astype(np.uint8)
    pixels = np.concatenate([photo, alpha], axis=2).astype(np.uint16) * 257 + np.uint16(3)
    return encode_png(CanonicalImage(pixels))


def test_edits_one_after_another_are_steps_without_a_row(alices_program: Client, photo_png: bytes) -> None:
    first, second = chain(alices_program, photo_png, LEFT, RIGHT)
    stack = alices_program.get(f"/api/generations/{second}/stack/").json()
    assert [step["generation"] for step in stack["steps"]] == [first, second]
    assert (stack["id"], stack["revision"], Stack.objects.count()) == (None, 0, 0)
    assert stack["image"] == {"url": f"/api/generations/{second}/images/0/", "is_flattened": False}
    assert stack["photo"]["url"] == f"/api/generations/{first}/source/"
    assert [step["made_on"] for step in stack["steps"]] == [[], [f"{first}/0"]]
    alone = alices_program.get(f"/api/generations/{first}/stack/").json()
    assert [step["generation"] for step in alone["steps"]] == [first]


def test_a_plain_stack_is_the_last_result_byte_for_byte_and_decodes_nothing(
    alices_program: Client, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(alices_program, photo_png, LEFT, MIDDLE, RIGHT)
    stack = store(alices_program, made[-1])
    monkeypatch.setattr(stack_images, "lay", None)
    assert image_of(alices_program, stack) == result_of(alices_program, made[-1])
    shorter = changed(alices_program, stack, step_2={"hidden": True})
    assert image_of(alices_program, shorter) == result_of(alices_program, made[1])
    nothing = changed(
        alices_program, shorter, step_0={"hidden": True}, step_1={"hidden": True}, step_2={"hidden": True}
    )
    assert decoded(image_of(alices_program, nothing)).equals(decoded(photo_png))
    assert nothing["image"] == {"url": stack["photo"]["url"], "is_flattened": False}


@pytest.mark.parametrize("photo_form", ["photo_png", "deep_png"])
def test_a_hidden_step_leaves_only_the_masks_that_are_seen(
    alices_program: Client, photo_form: str, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(photo_form)
    first, second = chain(alices_program, source, LEFT, RIGHT)
    stack = changed(alices_program, store(alices_program, second), step_0={"hidden": True})
    assert stack["image"] == {"url": f"/api/stacks/{stack['id']}/image/", "is_flattened": True}
    photo, shown = decoded(source), decoded(image_of(alices_program, stack))
    assert (shown.mode, shown.bits) == (photo.mode, photo.bits)
    assert outside_mask_changed_pixels(photo, shown, RIGHT) == 0
    assert np.array_equal(shown.pixels[RIGHT > 0], decoded(result_of(alices_program, second)).pixels[RIGHT > 0])
    assert not np.array_equal(shown.pixels[RIGHT > 0], photo.pixels[RIGHT > 0])
    again = changed(alices_program, stack, step_0={"hidden": False})
    assert image_of(alices_program, again) == result_of(alices_program, second)
    assert [step["generation"] for step in again["steps"]] == [first, second]


def test_two_masks_that_are_painted_at_the_same_time_join_one_stack(alices_program: Client, photo_png: bytes) -> None:
    first, second = edit(alices_program, photo_png, LEFT), edit(alices_program, photo_png, MIDDLE)
    stack = store(alices_program, first)
    status, joined = patch(alices_program, stack, [as_sent(stack["steps"][0]), {"generation": second, "made_on": []}])
    assert status == 200
    photo, shown = decoded(photo_png), decoded(image_of(alices_program, joined))
    assert outside_mask_changed_pixels(photo, shown, np.maximum(LEFT, MIDDLE)) == 0
    assert outside_mask_changed_pixels(decoded(result_of(alices_program, first)), shown, MIDDLE) == 0
    assert not any(step["made_on_hidden"] for step in joined["steps"])
    third = edit(alices_program, image_of(alices_program, joined), RIGHT, second)
    steps = [*map(as_sent, joined["steps"]), {"generation": third}]
    stack = patch(alices_program, joined, steps)[1]
    assert image_of(alices_program, stack) == result_of(alices_program, third)


def test_a_step_whose_mask_touches_a_hidden_one_is_marked(alices_program: Client, photo_png: bytes) -> None:
    made = chain(alices_program, photo_png, LEFT, MIDDLE, RIGHT)
    stack = changed(alices_program, store(alices_program, made[-1]), step_0={"hidden": True})
    assert [step["made_on_hidden"] for step in stack["steps"]] == [False, True, False]
    beneath = image_of(alices_program, stack, below=made[1])
    assert decoded(beneath).equals(decoded(photo_png))
    again = edit(alices_program, beneath, MIDDLE, made[1])
    steps = [as_sent(step) for step in stack["steps"]]
    steps[1] = {"generation": again, "made_on": []}
    rerun = patch(alices_program, stack, steps)[1]
    assert [step["made_on_hidden"] for step in rerun["steps"]] == [False, False, False]
    shown = decoded(image_of(alices_program, rerun))
    assert outside_mask_changed_pixels(decoded(result_of(alices_program, again)), shown, RIGHT) == 0
    seen = changed(alices_program, rerun, step_0={"hidden": False}, step_1={"hidden": True})
    assert [step["made_on_hidden"] for step in seen["steps"]] == [False, False, False]


def test_each_mask_is_read_once_for_the_marks(
    alices_program: Client, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(alices_program, photo_png, LEFT, disc(10, 50, 5), RIGHT, disc(85, 10, 5))
    stack = store(alices_program, made[-1])
    read: list[str] = []

    def noted(generation: Generation) -> Mask:
        read.append(str(generation.pk))
        return effective_mask(generation)

    effective_mask = stack_images.effective_mask
    monkeypatch.setattr(stack_images, "effective_mask", noted)
    answer = changed(alices_program, stack, step_0={"hidden": True}, step_1={"hidden": True})
    assert not any(step["made_on_hidden"] for step in answer["steps"])
    assert sorted(read) == sorted(made)


def test_a_result_that_is_replaced_marks_those_that_touch_it(alices_program: Client, photo_png: bytes) -> None:
    made = chain(alices_program, photo_png, LEFT, MIDDLE, RIGHT)
    stack = store(alices_program, made[-1])
    other = alices_program.post(f"/api/generations/{made[0]}/run-again/", {"seed": "9"}).json()["id"]
    steps = [as_sent(step) for step in stack["steps"]]
    steps[0] = {"generation": other, "made_on": []}
    replaced = patch(alices_program, stack, steps)[1]
    assert [step["made_on_hidden"] for step in replaced["steps"]] == [False, True, False]


def painted_back(client: Client, stack: Json, mask: Mask) -> str:
    answer = client.post(f"/api/stacks/{stack['id']}/masks/", {"file": upload(png(mask), name="mask.png")})
    assert answer.status_code == 200, answer.content
    return str(answer.json()["id"])


def test_a_step_is_painted_back_in_part(alices_program: Client, bobs_program: Client, deep_png: bytes) -> None:
    first, second = chain(alices_program, deep_png, LEFT, RIGHT)
    stack = store(alices_program, second)
    back = np.zeros_like(LEFT)
    back[:, :20] = 255
    mask = painted_back(alices_program, stack, back)
    partly = changed(alices_program, stack, step_0={"painted_back": mask})
    photo, shown = decoded(deep_png), decoded(image_of(alices_program, partly))
    seen = np.where(back == 255, np.uint8(0), LEFT)
    assert outside_mask_changed_pixels(photo, shown, np.maximum(seen, RIGHT)) == 0
    assert np.array_equal(shown.pixels[seen > 0], decoded(result_of(alices_program, first)).pixels[seen > 0])
    assert not partly["steps"][1]["made_on_hidden"]
    file = alices_program.get(f"/api/stacks/{stack['id']}/masks/{mask}/").getvalue()
    assert np.array_equal(decoded(file).pixels[:, :, 0], back)
    assert bobs_program.get(f"/api/stacks/{stack['id']}/masks/{mask}/").status_code == 404


def test_a_step_that_changes_the_size_is_hidden_with_all_after_it(alices_program: Client, photo_png: bytes) -> None:
    first = edit(alices_program, photo_png, LEFT)
    wide = edit(
        alices_program,
        result_of(alices_program, first),
        np.zeros_like(LEFT),
        first,
        outpaint_right="32",
        engine="quick-fill",
    )
    after = np.zeros((64, 128), np.uint8)
    cv2.circle(after, (110, 30), 8, 255, -1)
    last = edit(alices_program, result_of(alices_program, wide), after, wide)
    stack = store(alices_program, last)
    assert [step["changes_size"] for step in stack["steps"]] == [False, True, False]
    assert [step["verb"] for step in stack["steps"]] == ["Removed", "Extended", "Removed"]
    steps = [as_sent(step) for step in stack["steps"]]
    status, problem = patch(alices_program, stack, [steps[0], {**steps[1], "hidden": True}, steps[2]])
    assert (status, problem["code"], problem["field"]) == (400, "step_changes_size", "steps[2].hidden")
    mask = painted_back(alices_program, stack, after)
    status, problem = patch(alices_program, stack, [steps[0], {**steps[1], "painted_back": mask}, steps[2]])
    assert (status, problem["code"]) == (400, "step_changes_size")
    both = changed(alices_program, stack, step_1={"hidden": True}, step_2={"hidden": True})
    assert image_of(alices_program, both) == result_of(alices_program, first)
    lower = changed(alices_program, stack | {"revision": both["revision"]}, step_0={"hidden": True})
    shown = decoded(image_of(alices_program, lower))
    assert np.array_equal(shown.pixels[:, :96], decoded(photo_png).pixels), "the step beneath is gone from the canvas"
    border = decoded(result_of(alices_program, last)).pixels[:, 97:]
    assert np.array_equal(shown.pixels[:, 97:], border)


def test_the_photo_itself_is_seen_where_its_extension_is_hidden(alices_program: Client, photo_png: bytes) -> None:
    wide = edit(alices_program, photo_png, np.zeros_like(LEFT), outpaint_right="32", engine="quick-fill")
    stack = store(alices_program, wide)
    hidden = changed(alices_program, stack, step_0={"hidden": True})
    assert hidden["image"]["is_flattened"]
    assert np.array_equal(decoded(image_of(alices_program, hidden)).pixels, decoded(photo_png).pixels)
    shown = changed(alices_program, hidden, step_0={"hidden": False})
    assert image_of(alices_program, shown) == result_of(alices_program, wide)


def test_a_photo_that_was_scaled_for_its_canvas_is_seen_in_its_size_again(
    alices_program: Client, photo_png: bytes
) -> None:
    wide = edit(alices_program, photo_png, np.zeros_like(LEFT), outpaint_size="48x32", engine="quick-fill")
    hidden = changed(alices_program, store(alices_program, wide), step_0={"hidden": True})
    assert decoded(image_of(alices_program, hidden)).size == decoded(photo_png).size


def test_a_change_is_refused_with_a_clear_error(alices_program: Client, bobs_program: Client, photo_png: bytes) -> None:
    (first,) = chain(alices_program, photo_png, LEFT)
    stack = store(alices_program, first)
    step, url = as_sent(stack["steps"][0]), f"/api/stacks/{stack['id']}/"
    foreign = edit(bobs_program, photo_png, LEFT)
    small = painted_back(alices_program, stack, np.zeros((8, 8), np.uint8))
    wide = edit(
        alices_program,
        png(np.zeros((64, 200, 3), np.uint8)),
        np.full((64, 200), 0, np.uint8) + cv2.circle(np.zeros((64, 200), np.uint8), (90, 30), 9, 255, -1),
    )
    refused: list[tuple[list[Json], str]] = [
        ([{**step, "generation": foreign}], "step_not_found"),
        ([{**step, "generation": str(uuid4())}], "step_not_found"),
        ([{**step, "painted_back": str(uuid4())}], "step_not_found"),
        ([{**step, "painted_back": small}], "mask_size_mismatch"),
        ([step, step], "field_invalid"),
        ([{**step, "image": 7}], "field_invalid"),
        ([{**step, "image": -1}], "field_invalid"),
        ([{**step, "made_on": ["the photo"]}], "field_invalid"),
        ([step, {"generation": wide}], "step_does_not_fit"),
        ([{}], "field_invalid"),
        ([], "field_invalid"),
    ]
    for steps, code in refused:
        status, problem = patch(alices_program, stack, steps)
        assert (status, problem["code"]) == (400, code), problem
    status, problem = patch(alices_program, stack, [{**step, "hidden": True}], revision=0)
    assert (status, problem["code"], problem["limit"]) == (409, "stack_changed", 1)
    assert patch(alices_program, stack, [step], revision=0)[0] == 200, "the same steps change nothing"
    assert bobs_program.get(url).status_code == 404
    assert bobs_program.get(f"/api/generations/{first}/stack/").status_code == 404
    assert patch(bobs_program, stack, [step])[0] == 404
    assert alices_program.get(f"{url}image/?below={uuid4()}").status_code == 404
    assert alices_program.get(f"{url}image/?format=bmp").status_code == 400
    assert alices_program.post(f"{url}masks/", {}).status_code == 400
    Generation.objects.filter(pk=wide).update(status=Status.FAILED)
    failed = alices_program.post("/api/stacks/", {"generation": wide}, content_type="application/json")
    assert (failed.status_code, failed.json()["field"]) == (400, "generation")


def test_steps_that_are_too_much_to_be_laid_over_each_other_are_refused_before_any_is_decoded(
    alices_program: Client, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo has 6144 pixels: two steps above a hidden one are laid, or three where none is left as it was made."""
    ids = chain(alices_program, photo_png, LEFT, MIDDLE, RIGHT)
    stack = store(alices_program, ids[-1])
    hidden = changed(alices_program, stack, step_0={"hidden": True})
    monkeypatch.setattr(core_stack, "MAX_LAID_MEGAPIXELS", 0.01)
    refused = alices_program.get(f"/api/stacks/{stack['id']}/image/")
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["field"]) == (400, "too_many_megapixels", "steps")
    assert problem["message"].startswith("1 megapixels would be laid over each other; at most 0.01 can be.")
    steps = [as_sent(step) for step in hidden["steps"]]
    one = [{**step, "hidden": place > 0} for place, step in enumerate(steps)]
    status, whole = patch(alices_program, hidden, one)
    assert status == 200, "a result as it is stored is laid over nothing"
    assert image_of(alices_program, whole) == result_of(alices_program, ids[0])
    again = [{**step, "hidden": place == 0} for place, step in enumerate(steps)]
    status, problem = patch(alices_program, whole, again)
    assert (status, problem["code"]) == (400, "too_many_megapixels")
    assert alices_program.get(f"/api/stacks/{stack['id']}/").json()["revision"] == whole["revision"]


def test_the_steps_that_a_person_keeps_are_limited_and_deleting_makes_room(
    alices_program: Client, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT_STEPS", 3)
    first, second = chain(alices_program, photo_png, LEFT, RIGHT)
    stack = store(alices_program, second)
    (other,) = chain(alices_program, photo_png, MIDDLE)
    store(alices_program, other)
    third = edit(alices_program, result_of(alices_program, second), MIDDLE, second)
    more = [*(as_sent(step) for step in stack["steps"]), {"generation": third}]
    status, problem = patch(alices_program, stack, more)
    assert (status, problem["code"], problem["limit"], problem["actual"]) == (429, "quota_exceeded", 3, 3)
    assert "Delete generations whose steps are not needed any more." in problem["message"]
    assert patch(alices_program, stack, [{**step, "hidden": True} for step in more[:2]])[0] == 200, "none is added"
    assert alices_program.delete(f"/api/generations/{other}/").status_code == 204
    Generation.objects.exclude(pk__in=[first, second, third]).delete()  # after the time in which it can be undone
    status, _ = patch(alices_program, stack, more, revision=stack["revision"] + 1)
    assert status == 200


def test_a_key_needs_the_scope_manage_to_change_steps(alice: User, alices_program: Client, photo_png: bytes) -> None:
    (first,) = chain(alices_program, photo_png, LEFT)
    stack = store(alices_program, first)
    reader = Client(headers={"X-API-Key": ApiKey.issue(alice, scopes=[Scope.READ])[1]})
    assert reader.get(f"/api/stacks/{stack['id']}/").status_code == 200
    assert patch(reader, stack, [as_sent(stack["steps"][0])])[0] == 403


def test_it_downloads_under_a_name_and_in_other_formats(alices_program: Client, photo_png: bytes) -> None:
    stack = changed(
        alices_program,
        store(alices_program, chain(alices_program, photo_png, LEFT, RIGHT)[-1]),
        step_0={"hidden": True},
    )
    url = f"/api/stacks/{stack['id']}/image/"
    answer = alices_program.get(url, {"download": "", "format": "jpeg"})
    assert (answer["Content-Type"], answer["Content-Disposition"][-5:]) == ("image/jpeg", '.jpg"')
    whole = alices_program.get(url)
    assert (whole["Content-Type"], "no-store" in whole["Cache-Control"]) == ("image/png", True)
    assert alices_program.get(url, headers={"If-None-Match": whole["ETag"]}).status_code == 304


def test_a_generation_that_still_waits_is_a_step_that_is_not_seen(alices_program: Client, photo_png: bytes) -> None:
    first = edit(alices_program, photo_png, LEFT)
    stack = store(alices_program, first)
    GeneratedImage.objects.all().delete()
    Generation.objects.update(status=Status.QUEUED, finished_at=None)
    waiting = alices_program.get(f"/api/stacks/{stack['id']}/").json()
    (step,) = waiting["steps"]
    assert (step["status"], step["url"], waiting["seen"]) == ("queued", None, [])
    assert decoded(image_of(alices_program, stack)).equals(decoded(photo_png))
    Generation.objects.update(status=Status.CANCELLED, finished_at=timezone.now())
    assert alices_program.get(f"/api/stacks/{stack['id']}/").status_code == 404, "nothing is left of it"


def test_one_of_several_results_is_known_by_what_was_made_on_it(alices_program: Client, photo_png: bytes) -> None:
    first = edit(alices_program, photo_png, LEFT, batch_size="3", engine="quick-fill")
    assert result_of(alices_program, first, 1) != result_of(alices_program, first, 0)
    second = edit(alices_program, result_of(alices_program, first, 1), RIGHT, first)
    stack = alices_program.get(f"/api/generations/{second}/stack/").json()
    assert [step["image"] for step in stack["steps"]] == [1, 0]


def test_another_result_of_a_step_is_not_taken_for_the_one_in_a_stored_stack(
    alices_program: Client, photo_png: bytes
) -> None:
    first = edit(alices_program, photo_png, LEFT, batch_size="2", engine="quick-fill")
    assert store(alices_program, first)["steps"][0]["image"] == 0
    chosen = alices_program.get(f"/api/generations/{first}/stack/", {"image": 1}).json()
    assert ([step["image"] for step in chosen["steps"]], chosen["id"]) == ([1], None)
    second = edit(alices_program, result_of(alices_program, first, 1), RIGHT, first)
    stack = store(alices_program, second)
    assert [step["image"] for step in stack["steps"]] == [1, 0]
    assert stack["steps"][1]["made_on"] == [f"{first}/1"]
    below = image_of(alices_program, changed(alices_program, stack, step_1={"hidden": True}))
    assert below == result_of(alices_program, first, 1)


def test_a_stack_whose_file_was_lost_is_gone(alices_program: Client, photo_png: bytes) -> None:
    made = chain(alices_program, photo_png, LEFT, RIGHT)
    stack = changed(alices_program, store(alices_program, made[1]), step_0={"hidden": True})
    default_storage.delete(str(Generation.objects.get(pk=made[1]).source.file.name))
    assert alices_program.get(f"/api/stacks/{stack['id']}/image/").status_code == 410


def test_what_a_deleted_generation_painted_stays_in_the_later_steps(
    alice: User, alices_program: Client, photo_png: bytes
) -> None:
    made = chain(alices_program, photo_png, LEFT, MIDDLE, RIGHT)
    stack = store(alices_program, made[-1])
    assert hide(alice, [Generation.objects.get(pk=made[1]).pk]) == 1
    shorter = alices_program.get(f"/api/stacks/{stack['id']}/").json()
    assert [step["generation"] for step in shorter["steps"]] == [made[2]]
    assert shorter["photo"]["url"] == f"/api/generations/{made[2]}/source/"
    assert image_of(alices_program, stack) == result_of(alices_program, made[2])
    assert restore(alice, [Generation.objects.get(pk=made[1]).pk]) == 1
    assert len(alices_program.get(f"/api/stacks/{stack['id']}/").json()["steps"]) == 3
    assert delete.delete(Generation.objects.get(pk=made[1]))
    assert image_of(alices_program, stack) == result_of(alices_program, made[2])
    for generation in (made[0], made[2]):
        assert delete.delete(Generation.objects.get(pk=generation))
    assert not Stack.objects.exists()


def test_masks_count_as_stored_are_exported_and_go_when_nothing_names_them(
    alice: User, alices_program: Client, photo_png: bytes
) -> None:
    stack = store(alices_program, chain(alices_program, photo_png, LEFT)[0])
    before = limits.stored_bytes(alice)
    named, unnamed = painted_back(alices_program, stack, LEFT), painted_back(alices_program, stack, RIGHT)
    changed(alices_program, stack, step_0={"painted_back": named})
    masks = {str(mask.pk): mask for mask in StepMask.objects.all()}
    assert limits.stored_bytes(alice) - before == sum(mask.byte_count for mask in masks.values())
    files = {file.file for file in named_files()}
    assert {mask.file.name for mask in masks.values()} < files
    members = {member.name for member in export.archive_of(alice).members}
    assert f"step-masks/{named}.png" in members
    assert "stacks.json" in members
    StepMask.objects.update(created_at=timezone.now() - timedelta(days=2))
    retention.sweep(timezone.now())
    assert [str(pk) for pk in StepMask.objects.values_list("pk", flat=True)] == [named]
    assert not default_storage.exists(str(masks[unnamed].file.name))
    UserLimits.objects.create(user=alice, stored_megabytes=0)
    refused = alices_program.post(f"/api/stacks/{stack['id']}/masks/", {"file": upload(png(LEFT), name="mask.png")})
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    delete.delete_all_of_user(alice)
    assert (Stack.objects.count(), StepMask.objects.count()) == (0, 0)
    assert not default_storage.exists(str(masks[named].file.name))
