"""Links to what the steps of a photo show together: the state when it was shared, and when the link ends."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from c2pa import C2paError
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from accounts.models import User
from inpainting.accounting import limits
from inpainting.accounting.limits import stored_bytes
from inpainting.core.codecs import decode_image
from inpainting.core.geometry import Size
from inpainting.generations import retention, shares, stack_shares
from inpainting.generations.delete import delete
from inpainting.generations.undoable_delete import hide, restore
from inpainting.models import Generation, OwnerTotals, Share, StackShare, Verdict
from tests.api.signed_results import last_action, manifest_of, read
from tests.api.stack_requests import LEFT, MIDDLE, RIGHT, chain, changed, decoded, image_of, result_of, store

pytestmark = pytest.mark.django_db(transaction=True)

PARTS = ("", "picture/", "preview/", "before/")


@pytest.fixture
def alices_browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def stack(alices_browser: Client, photo_png: bytes) -> dict[str, Any]:
    """Three steps of which the second is hidden."""
    made = chain(alices_browser, photo_png, LEFT, MIDDLE, RIGHT)
    return changed(alices_browser, store(alices_browser, made[-1]), step_1={"hidden": True})


def share_page(stack: dict[str, Any]) -> str:
    return f"/stacks/{stack['id']}/share/"


def shared(client: Client, stack: dict[str, Any], **fields: Any) -> str:
    """Share the stack on its page; returns the link."""
    answer = client.post(share_page(stack), {"days": 7, "shows_source": "on", **fields})
    assert answer["Location"] == share_page(stack), answer.content.decode()
    link = f"/shared/{shares.token(StackShare.objects.latest('created_at'))}/"
    assert link in client.get(share_page(stack)).content.decode()
    return link


def stored_name() -> str:
    return str(StackShare.objects.get().file.name)


def statuses(link: str) -> list[int]:
    return [Client().get(link + part).status_code for part in PARTS]


def test_the_link_shows_the_state_when_it_was_shared(
    alices_browser: Client, stack: dict[str, Any], photo_png: bytes
) -> None:
    link = shared(alices_browser, stack, name="Rocket <at> dusk", has_preview="on")
    expected = decoded(image_of(alices_browser, stack)).pixels
    assert not np.array_equal(expected, decoded(result_of(alices_browser, stack["steps"][2]["generation"])).pixels)
    changed(alices_browser, stack, step_0={"hidden": True})
    visitor = Client()
    assert np.array_equal(decoded(visitor.get(f"{link}picture/").getvalue()).pixels, expected)
    preview = decode_image(visitor.get(f"{link}preview/").getvalue()).image.pixels
    assert np.abs(preview.astype(int) - expected).mean() < 8
    before = decode_image(visitor.get(f"{link}before/").getvalue()).image.pixels
    assert np.abs(before.astype(int) - decoded(photo_png).pixels).mean() < 8
    content = visitor.get(link).content.decode()
    assert "Rocket &lt;at&gt; dusk – DreamLayer</title>" in content
    assert f'<meta property="og:image" content="http://testserver{link}preview/">' in content
    assert "A photo from which something was removed with DreamLayer; nothing else was changed." in content
    assert "as it was on" in content
    for part in PARTS:
        answer = visitor.get(link + part)
        assert "noindex" in answer["X-Robots-Tag"]
        assert answer["Cache-Control"] == "private, no-store"


def test_the_page_tells_nothing_private(alice: User, alices_browser: Client, stack: dict[str, Any]) -> None:
    link = shared(alices_browser, stack, shows_source="")
    visitor = Client()
    content = visitor.get(link).content.decode()
    private = [stack["id"], alice.email, *(step["generation"] for step in stack["steps"])]
    for word in (*private, stored_name(), "og:image", "Before"):
        assert word not in content
    assert visitor.get(f"{link}before/").status_code == 404


def test_only_the_owner_shares_and_revokes(bob: User, alices_browser: Client, stack: dict[str, Any]) -> None:
    bobs_browser = Client()
    bobs_browser.force_login(bob)
    assert bobs_browser.get(share_page(stack)).status_code == 404
    assert bobs_browser.post(share_page(stack), {"days": 7}).status_code == 404
    assert Client().post(share_page(stack), {"days": 7})["Location"].startswith("/accounts/login/")
    link, name = shared(alices_browser, stack), stored_name()
    generation = stack["steps"][0]["generation"]
    assert link in alices_browser.get(f"/generations/{generation}/").content.decode()
    revoke = f"/shares/{StackShare.objects.get().pk}/revoke/"
    assert bobs_browser.post(revoke).status_code == 404
    assert statuses(link) == [200] * 4
    assert alices_browser.post(revoke)["Location"] == share_page(stack)
    assert statuses(link) == [404] * 4
    assert not default_storage.exists(name)


def test_deleting_a_step_that_is_seen_or_the_photo_ends_the_link(
    alices_browser: Client, stack: dict[str, Any], django_capture_on_commit_callbacks: Any
) -> None:
    first, hidden, last = (Generation.objects.get(pk=step["generation"]) for step in stack["steps"])
    link, name = shared(alices_browser, stack), stored_name()
    for generation in (first, last):
        hide(generation.owner, [generation.pk])
        assert statuses(link) == [404] * 4
        restore(generation.owner, [generation.pk])
        assert statuses(link) == [200] * 4
        Generation.objects.filter(pk=generation.pk).update(verdict=Verdict.REMOVED)
        assert statuses(link) == [404] * 4
        Generation.objects.filter(pk=generation.pk).update(verdict=Verdict.NONE)
    delete(hidden)
    assert statuses(link) == [200] * 4, "a hidden step is not on it"
    delete(last)
    assert statuses(link) == [404] * 4
    assert not StackShare.objects.exists()
    assert not default_storage.exists(name)


def test_a_link_whose_step_the_released_version_deleted_has_ended(
    alices_browser: Client, stack: dict[str, Any]
) -> None:
    link = shared(alices_browser, stack)
    last = StackShare.generations.through.objects.filter(generation=stack["steps"][2]["generation"])
    assert last.update(generation_id=uuid4()) == 1
    assert statuses(link) == [404] * 4


def test_an_expired_link_has_ended_and_is_swept(alices_browser: Client, stack: dict[str, Any]) -> None:
    link, name = shared(alices_browser, stack), stored_name()
    StackShare.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert statuses(link) == [404] * 4
    assert link not in alices_browser.get(share_page(stack)).content.decode()
    retention.sweep(timezone.now())
    assert not StackShare.objects.exists()
    assert not default_storage.exists(name)


def test_nothing_is_shared_where_no_step_is_shown_or_the_fields_are_wrong(
    alices_browser: Client, stack: dict[str, Any]
) -> None:
    for wrong in ({"days": 400}, {"days": 7, "name": "x" * 101}):
        alices_browser.post(share_page(stack), wrong)
    hidden = changed(alices_browser, stack, **{f"step_{place}": {"hidden": True} for place in range(3)})
    answer = alices_browser.post(share_page(hidden), {"days": 7})
    assert answer.status_code == 400
    assert "No step is shown" in answer.content.decode()
    assert not StackShare.objects.exists()
    assert not Share.objects.exists()


def test_shared_images_count_as_stored_and_are_limited(
    alice: User, alices_browser: Client, stack: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> int:
        return OwnerTotals.of([alice.pk])[alice.pk]["stored_bytes"]

    before = stored()
    shared(alices_browser, stack)
    assert stored() - before == StackShare.objects.get().byte_count > 0
    monkeypatch.setattr(limits, "STACK_SHARES", 1)
    answer = alices_browser.post(share_page(stack), {"days": 7})
    assert answer.status_code == 429
    assert "Your limit for links to steps is 1, and 1 are used." in answer.content.decode()
    assert StackShare.objects.count() == 1


def test_enlarging_repaints_nothing_and_detail_what_its_mask_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_shares, "visible_mask", lambda step: step.mask)

    def step(engine: str, marked: int, *, enlarged_to: Size | None = None) -> Any:
        mask = np.zeros((10, 10), np.uint8)
        mask[:, :marked] = 255
        generation = SimpleNamespace(engine=engine, enlarged_to=enlarged_to, placement=None)
        return SimpleNamespace(is_seen=True, changes_size=enlarged_to is not None, generation=generation, mask=mask)

    large = Size(20, 20)
    assert stack_shares.coverage([step("upscale", 10, enlarged_to=large)]) == 0
    assert stack_shares.coverage([step("erase", 3), step("upscale", 10, enlarged_to=large)]) == 0.3
    assert stack_shares.coverage([step("erase", 3), step("diffusion", 5, enlarged_to=large)]) == 0.5


def test_the_picture_says_how_it_was_made(alices_browser: Client, stack: dict[str, Any], settings: Any) -> None:
    plain = shared(alices_browser, stack)
    with pytest.raises(C2paError):
        read(Client().get(f"{plain}picture/").getvalue())
    network = Generation.objects.get(pk=stack["steps"][2]["generation"])
    network.engine, network.model, network.ignored = "erase", "migan", []
    network.settings["prompt"] = "a lawn"
    network.save()
    link = shared(alices_browser, stack)
    content = Client().get(link).content.decode()
    assert "Content Credentials" in content
    assert "A photo that was edited in several steps with DreamLayer; nothing else was changed." in content
    [picture] = re.findall(r'class="button primary" href="([^"]+)"', content)
    data = Client().get(picture).getvalue()
    assert Client().get(picture).getvalue() == data, "it is signed once"
    manifest = manifest_of(data)
    action = last_action(manifest)
    assert action["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert action["parameters"] == {"org.dreamlayer.engine": "quick-fill, erase", "org.dreamlayer.model": "migan"}
    covered = 100 * np.count_nonzero((LEFT > 0) | (RIGHT > 0)) / LEFT.size
    [percent] = re.findall(r"([\d.]+) % of the image was repainted", action["description"])
    assert float(percent) >= round(covered, 1) > 0
    assert float(percent) < covered + 8  # grown, and without the hidden step
    [source] = manifest["ingredients"]
    assert source["instance_id"] == f"sha256:{Generation.objects.get(pk=stack['steps'][0]['generation']).source.sha256}"
    settings.CONTENT_CREDENTIALS = False
    assert "Content Credentials" not in Client().get(link).content.decode()
    row = StackShare.objects.latest("created_at")
    assert Client().get(picture).getvalue() == row.read_bytes()
    used = stored_bytes(row.owner)
    [revoke] = re.findall(rf'action="(/shares/{row.pk}/[^"]+)"', alices_browser.get(share_page(stack)).content.decode())
    alices_browser.post(revoke)
    assert used - stored_bytes(row.owner) == row.byte_count + len(data)
    assert not default_storage.exists(str(row.signed_file.name))
