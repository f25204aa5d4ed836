"""Results flagged by the safety checker are visible only to reviewers, for every way to send a request."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from numpy.typing import NDArray

from accounts.audit import Action, AuditEntry
from accounts.models import User
from inpainting.accounting.limits import stored_bytes
from inpainting.catalog.store.pull import remove_files
from inpainting.core.codecs import STORED_LIMITS, decode_image
from inpainting.core.image import CanonicalImage
from inpainting.core.moderation.crops import checker_crops
from inpainting.core.moderation.policy import STAYS_ON
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import SAFETY_TYPES
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.painting import paint
from inpainting.engines.quick_fill.declaration import QUICK_FILL
from inpainting.engines.quick_fill.engine import QuickFill
from inpainting.generations.delete import delete
from inpainting.models import GeneratedImage, Generation, InferenceModel
from inpainting.worker.run import run_waiting
from tests.api.bodies import shape_a, upload
from tests.conftest import png
from tests.support import tiny_checker
from tests.support.fakes import planned, pretend_missing

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
CHESS_BOARD = np.kron(np.indices((8, 12)).sum(0) % 2, np.ones((8, 8), int))[:, :, None].repeat(3, 2) * 255
"""A chess board of the size of the photo: the image that the checker flags."""
Generate = Callable[..., Generation]


class FlaggedEngine(QuickFill):
    """Paints an image that the checker flags and sends it as preview; with an even seed it keeps the photo."""

    declaration = replace(QUICK_FILL, name="flagged")

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        request = plan.request
        kind = np.array(request.image.pixels, np.uint8)
        flagged = CHESS_BOARD[: kind.shape[0], : kind.shape[1]].astype(np.uint8)
        on_step(Step(1, 1, preview=flagged))
        settings = request.settings
        return [flagged if (settings.seed + index) % 2 else kind for index in range(settings.num_images)]


@pytest.fixture(autouse=True)
def _registered_engine(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.engines(), "flagged", FlaggedEngine())
    settings.MODELS_DIR = tmp_path / "models"


@pytest.fixture
def checker(photo: NDArray[np.uint8], hole: NDArray[np.uint8], tmp_path: Path) -> InferenceModel:
    """An installed checker that flags the chess board and passes what resembles the photo."""

    def painted(engine: QuickFill, seed: int) -> NDArray[np.uint8]:
        request = InpaintRequest(CanonicalImage(photo), hole, PaintSettings(seed=seed, strength=1.0))
        return np.asarray(paint(planned(request, engine), engine, lambda step: None)[0].image.pixels)

    boxes = [box.slices for box in checker_crops(hole)]
    fine = [painted(FlaggedEngine(), 4), painted(QuickFill(), 3)]
    rigged = tiny_checker.rigged(
        painted(FlaggedEngine(), 3)[boxes[0]], *(image[box] for image in fine for box in boxes)
    )
    folder = tiny_checker.saved(tmp_path / "checker", rigged)
    call_command("pull_model", "safety-checker", "--yes", f"--from={folder}", stdout=StringIO())
    return InferenceModel.objects.get(slug="safety-checker")


@pytest.fixture
def reviewer(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.com", "a long one"))
    return client


def answer_for(client: Client, image: bytes, mask: bytes, *, status: int = 200, **fields: Any) -> dict[str, Any]:
    fields = {"engine": "flagged", "seed": "3", "denoising_strength": "1", **fields}
    answer = client.post("/api/img2img", shape_a(image, mask, **fields))
    assert answer.status_code == status, answer.json()
    content: dict[str, Any] = answer.json()
    return content


def body_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_image(data, limits=STORED_LIMITS).image.pixels)


def shows_chess_board(pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> bool:
    """Whether the chess board is visible inside the mask."""
    seen, flagged = (image[mask > 0].mean(-1) for image in (pixels, CHESS_BOARD))
    return bool(seen.std() > 0 and np.corrcoef(seen, flagged)[0, 1] > 0.6)


@pytest.mark.usefixtures("checker")
@pytest.mark.parametrize("how", SAFETY_TYPES)
def test_a_flagged_result_is_hidden_and_nothing_outside_changes(
    alices_program: Client, photo_png: bytes, mask_png: bytes, photo: Any, hole: Any, how: str
) -> None:
    content = answer_for(alices_program, photo_png, mask_png, safety_checker="true", safety_checker_type=how)
    metadata = content["metadata"]
    assert metadata["nsfw_content_detected"] == [True]
    assert (metadata["safety_checker"], metadata["safety_checker_type"]) == (True, how)
    (result,) = metadata["results"]
    assert (result["nsfw_content_detected"], result["hidden_by"]) == (True, how)
    assert result["outside_mask_changed_pixels"] == 0
    shown = pixels_of(body_of(alices_program.get(content["images"][0])))
    assert np.array_equal(shown[hole == 0], photo[hole == 0])
    image = GeneratedImage.objects.get()
    with image.hidden_file.open("rb") as file:
        painted = pixels_of(file.read())
    assert shows_chess_board(painted, hole)
    assert not np.array_equal(shown, painted)
    if how == "black":
        assert not shown[hole > 0].any()
    plain = answer_for(alices_program, photo_png, mask_png)
    assert shows_chess_board(pixels_of(body_of(alices_program.get(plain["images"][0]))), hole)


@pytest.mark.usefixtures("checker")
def test_a_lossy_copy_shows_the_hidden_result(
    alices_program: Client, photo_png: bytes, mask_png: bytes, hole: Any
) -> None:
    hidden: dict[str, Any] = {"safety_checker": "true", "safety_checker_type": "black", "output_format": "webp"}
    (link,) = answer_for(alices_program, photo_png, mask_png, **hidden)["images"]
    shown = pixels_of(body_of(alices_program.get(link)))
    assert shown[cv2.erode(hole, np.ones((5, 5))) > 0].max() < 40


@pytest.mark.usefixtures("checker")
def test_the_verdict_is_null_without_a_checker_and_a_passing_result_is_unchanged(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    plain = answer_for(alices_program, photo_png, mask_png, engine="quick-fill")
    assert plain["metadata"]["nsfw_content_detected"] is None
    assert plain["metadata"]["results"][0]["nsfw_content_detected"] is None
    assert "safety_checker_type" not in plain["metadata"]
    checked = answer_for(alices_program, photo_png, mask_png, engine="quick-fill", safety_checker="true")
    assert checked["metadata"]["nsfw_content_detected"] == [False]
    assert checked["metadata"]["results"][0]["hidden_by"] is None
    first, second = GeneratedImage.objects.order_by("created_at")
    assert np.array_equal(first.read().pixels, second.read().pixels)
    assert not second.hidden_file
    (one, other) = alices_program.get("/api/generations/").json()["results"]
    assert [row["images"][0]["nsfw_content_detected"] for row in (one, other)] == [False, None]


@pytest.mark.usefixtures("checker")
def test_a_result_in_which_nothing_was_painted_passes(alices_program: Client, photo_png: bytes) -> None:
    form = {"image": upload(photo_png), "prompt": "", "outpaint_size": "48x32", "safety_checker": "true"}
    answer = alices_program.post("/api/img2img", form).json()
    assert answer["metadata"]["nsfw_content_detected"] == [False]


@pytest.mark.usefixtures("checker")
@pytest.mark.parametrize("fading", ["grey", "blurred"])
def test_a_faint_result_is_judged_at_full_strength(
    alices_program: Client, photo_png: bytes, hole: Any, fading: str
) -> None:
    """A faint result could be recovered by subtracting the source image."""
    mask = png(255 - (hole // 8 if fading == "grey" else hole))
    more: dict[str, Any] = {"mask_blur": "64"} if fading == "blurred" else {}
    content = answer_for(alices_program, photo_png, mask, safety_checker="true", safety_checker_type="black", **more)
    assert content["metadata"]["nsfw_content_detected"] == [True]
    shown = pixels_of(body_of(alices_program.get(content["images"][0])))
    assert not shown[hole > 0].any()
    kind = answer_for(alices_program, photo_png, mask, safety_checker="true", seed="4", **more)
    assert kind["metadata"]["nsfw_content_detected"] == [False]


@pytest.mark.usefixtures("checker")
def test_each_result_is_judged_separately(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    content = answer_for(alices_program, photo_png, mask_png, num_images="3", safety_checker="true")
    assert content["metadata"]["nsfw_content_detected"] == [True, False, True]
    hidden = [bool(image.hidden_file) for image in GeneratedImage.objects.order_by("index")]
    assert hidden == [True, False, True]


@pytest.mark.usefixtures("checker")
def test_requests_cannot_weaken_the_sites_setting(
    alices_program: Client, settings: Any, photo_png: bytes, mask_png: bytes
) -> None:
    settings.SAFETY_CHECKER = "pixelate"
    used = []
    variants: list[dict[str, Any]] = [
        {},
        {"safety_checker": "false"},
        {"safety_checker": "no", "safety_checker_type": "blur"},
        {"safety_checker_type": "black"},
    ]
    for fields_sent in variants:
        metadata = answer_for(alices_program, photo_png, mask_png, **fields_sent)["metadata"]
        assert metadata["nsfw_content_detected"] == [True]
        assert (STAYS_ON in metadata["warnings"]) == ("safety_checker" in fields_sent)
        assert any("“blur” hides less" in text for text in metadata["warnings"]) == ("blur" in fields_sent.values())
        used.append(metadata["results"][0]["hidden_by"])
        assert metadata["safety_checker_type"] == used[-1]
    assert used == ["pixelate", "pixelate", "pixelate", "black"]


@pytest.mark.usefixtures("checker")
def test_a_queued_generation_is_checked_once_the_site_enables_the_checker(
    alice: User, settings: Any, photo: Any, hole: Any, photo_png: bytes, mask_png: bytes, alices_program: Client
) -> None:
    answer_for(alices_program, photo_png, mask_png)
    generation = Generation.objects.get()
    settings.SAFETY_CHECKER = "black"
    again = alices_program.post(f"/api/generations/{generation.pk}/run-again/", {}, content_type="application/json")
    assert again.status_code == 202, again.json()
    assert Generation.objects.get(pk=again.json()["id"]).images.get().report["hidden_by"] == "black"
    later = generation.copy_for_rerun()  # the settings as requested, not resolved again
    assert later.settings["safety_checker"] is None
    later.save_new()
    run_waiting()
    assert later.images.get().report["hidden_by"] == "black"


def test_an_unknown_type_is_refused_with_the_list(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    content = answer_for(alices_program, photo_png, mask_png, status=400, safety_checker_type="mosaic")
    assert (content["code"], content["field"]) == ("field_invalid", "safety_checker_type")


def test_the_schema_has_both_fields_and_the_verdict(client: Client) -> None:
    schemas = client.get("/api/schema/?format=json").json()["components"]["schemas"]
    for name in ("Upload", "ChangesUpload"):
        fields = schemas[name]["properties"]
        assert fields["safety_checker"]["anyOf"] == [{"type": "boolean"}, {"type": "null"}]
        kind = fields["safety_checker_type"]
        names = kind.get("enum") or schemas[kind["allOf"][0]["$ref"].rpartition("/")[2]]["enum"]
        assert names == list(SAFETY_TYPES)
    assert {"type": "null"} in schemas["Metadata"]["properties"]["nsfw_content_detected"]["anyOf"]
    assert "nsfw_content_detected" in schemas["Metadata"]["required"]
    assert "hidden_by" in schemas["GeneratedImageDocument"]["properties"]


@pytest.mark.parametrize("is_light", [True, False])
@pytest.mark.parametrize("by_site", [True, False])
def test_a_request_is_refused_if_the_checker_is_unavailable(
    alices_program: Client,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    photo_png: bytes,
    mask_png: bytes,
    is_light: bool,
    by_site: bool,
) -> None:
    if is_light:
        pretend_missing(monkeypatch, "torch")
    fields_sent: dict[str, Any] = {} if by_site else {"safety_checker": "true"}
    settings.SAFETY_CHECKER = "blur" if by_site else "off"
    content = answer_for(alices_program, photo_png, mask_png, status=400, engine="quick-fill", **fields_sent)
    assert content["code"] == "safety_checker_unavailable"
    assert ("pip install" if is_light else "pull_model safety-checker") in content["message"]
    assert not Generation.objects.exists()
    batch = {"images": [upload(photo_png)], "masks": [upload(mask_png, name="mask.png")], "prompt": "", **fields_sent}
    answer = alices_program.post("/api/batches/", batch)
    assert (answer.status_code, answer.json()["code"]) == (400, "safety_checker_unavailable")
    dry = alices_program.post("/api/plan/", shape_a(photo_png, mask_png, engine="quick-fill", **fields_sent))
    assert (dry.status_code, dry.json()["code"]) == (400, "safety_checker_unavailable")


def test_a_checker_removed_meanwhile_fails_the_generation(
    alice: User, checker: InferenceModel, generate: Generate
) -> None:
    with pytest.MonkeyPatch.context() as held:
        held.setattr("inpainting.generations.submit.notify_workers", lambda queue: None)
        generation = generate(alice, engine="flagged", safety_checker=True)
    remove_files(checker)
    run_waiting()
    generation.refresh_from_db()
    assert (generation.status, generation.error_code) == ("failed", "safety_checker_unavailable")
    assert not generation.images.exists()


@pytest.mark.usefixtures("checker")
def test_only_reviewers_see_the_hidden_image(
    alice: User, alices_program: Client, reviewer: Client, photo_png: bytes, mask_png: bytes, hole: Any
) -> None:
    content = answer_for(alices_program, photo_png, mask_png, safety_checker="true", safety_checker_type="blur")
    url = f"/generations/{content['id']}/hidden/0/"
    owner = Client()
    owner.force_login(alice)
    for stranger in (owner, alices_program, Client()):
        assert stranger.get(url).status_code == 404
    answer = reviewer.get(url)
    assert AuditEntry.objects.get().action == Action.HIDDEN_RESULT
    assert answer["Cache-Control"] == "private, no-store"
    assert shows_chess_board(pixels_of(body_of(answer)), hole)
    page = reviewer.get(f"/admin/inpainting/generation/{content['id']}/change/").content.decode()
    assert f'<a class="button small" href="{url}" data-reveal' in page
    assert "Hidden by the safety checker" in page
    own = owner.get(f"/generations/{content['id']}/").content.decode()
    assert "Hidden by the safety checker" in own
    assert "hidden/0" not in own
    plain = answer_for(alices_program, photo_png, mask_png)
    assert reviewer.get(f"/generations/{plain['id']}/hidden/0/").status_code == 404
    assert "Hidden by" not in owner.get(f"/generations/{plain['id']}/").content.decode()


@pytest.mark.usefixtures("checker")
def test_no_other_url_serves_the_hidden_image(
    alice: User, alices_program: Client, reviewer: Client, photo_png: bytes, mask_png: bytes, hole: Any
) -> None:
    content = answer_for(alices_program, photo_png, mask_png, safety_checker="true", safety_checker_type="black")
    pk, image = content["id"], GeneratedImage.objects.get()
    names = (str(image.hidden_file.name), image.hidden_sha256)
    ways = [f"/api/generations/{pk}/images/0/", content["images"][0], f"/admin/inpainting/generation/{pk}/picture/0/"]
    for way in ways:
        answer = (reviewer if "/admin/" in way else alices_program).get(way)
        assert answer.status_code == 200
        assert not shows_chess_board(pixels_of(body_of(answer)), hole), way
    thumbnail = body_of(alices_program.get(f"/api/generations/{pk}/images/0/thumbnail/"))
    small = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert not shows_chess_board(cv2.resize(small, hole.shape[::-1]), hole)
    whole = json.dumps(alices_program.get(f"/api/generations/{pk}/").json()) + json.dumps(content)
    assert not [name for name in names if name in whole]


@pytest.mark.usefixtures("checker")
def test_the_archive_of_a_batch_has_the_obscured_image(
    alices_program: Client, settings: Any, photo_png: bytes, mask_png: bytes, hole: Any
) -> None:
    settings.SAFETY_CHECKER = "black"
    body = {
        "images": [upload(photo_png)],
        "masks": [upload(mask_png, name="mask.png")],
        "engine": "flagged",
        "seed": "3",
    }
    batch = alices_program.post("/api/batches/", {**body, "prompt": ""}).json()
    archive = zipfile.ZipFile(io.BytesIO(body_of(alices_program.get(f"/api/batches/{batch['id']}/results.zip"))))
    (name,) = [name for name in archive.namelist() if name.endswith(".png")]
    assert not pixels_of(archive.read(name))[hole > 0].any()


@pytest.mark.usefixtures("checker")
@pytest.mark.parametrize("is_on", [True, False])
def test_no_preview_is_sent_before_the_check(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    shown: list[object] = []
    advance = Generation.advance

    def noted(self: Generation, step: int, steps: int, **more: Any) -> bool:
        shown.append(more.get("preview"))
        return advance(self, step, steps, **more)

    monkeypatch.setattr(Generation, "advance", noted)
    fields_sent: dict[str, Any] = {"safety_checker": "true"} if is_on else {}
    answer_for(alices_program, photo_png, mask_png, **fields_sent)
    assert shown
    assert any(preview is not None for preview in shown) != is_on


def files() -> list[Path]:
    root = Path(default_storage.path(""))
    return [path for path in root.rglob("*") if path.is_file()] if root.exists() else []


@pytest.fixture
def _own_data_folder(settings: Any, tmp_path: Path) -> None:
    kept = settings.STORAGES["default"]
    options = {**kept["OPTIONS"], "location": tmp_path / "pictures"}
    settings.STORAGES = {**settings.STORAGES, "default": {**kept, "OPTIONS": options}}


@pytest.mark.usefixtures("_own_data_folder", "checker")
def test_a_hidden_file_is_counted_checked_and_deleted_with_its_generation(
    alice: User, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer_for(alices_program, photo_png, mask_png, safety_checker="true", safety_checker_type="black")
    image = GeneratedImage.objects.get()
    path = Path(image.hidden_file.path)
    assert path.stat().st_mode & 0o077 == 0
    assert image.hidden_byte_count == path.stat().st_size
    generation = image.generation
    shown = generation.source.byte_count + generation.mask.byte_count + image.byte_count
    assert stored_bytes(alice) == shown + image.hidden_byte_count
    call_command("check_files", "--hashes", stdout=StringIO())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    content = StringIO()
    with pytest.raises(CommandError):
        call_command("check_files", "--hashes", stdout=content)
    assert f"altered  {image.hidden_file.name}" in content.getvalue()
    path.unlink()
    with pytest.raises(CommandError):
        call_command("check_files", stdout=content)
    assert f"missing  {image.hidden_file.name}" in content.getvalue()
    path.write_bytes(whole)
    assert delete(image.generation)
    assert files() == []


@pytest.mark.usefixtures("_own_data_folder", "checker")
def test_a_result_that_is_not_kept_leaves_no_hidden_file(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled_meanwhile(self: Generation, images: Any) -> bool:
        assert Path(images[0].hidden_file.path).exists()
        Generation.objects.filter(pk=self.pk).update(cancel_requested=True)
        return False

    monkeypatch.setattr(Generation, "succeed", cancelled_meanwhile)
    answer_for(alices_program, photo_png, mask_png, status=409, safety_checker="true")
    generation = Generation.objects.get()
    assert set(files()) == {Path(generation.source.file.path), Path(generation.mask.file.path)}


@pytest.mark.usefixtures("checker")
def test_the_command_line_writes_only_the_obscured_image(
    tmp_path: Path, settings: Any, photo_png: bytes, mask_png: bytes, hole: Any, photo: Any
) -> None:
    (tmp_path / "in.png").write_bytes(photo_png)
    (tmp_path / "mask.png").write_bytes(mask_png)
    command = ["inpaint", str(tmp_path / "in.png"), str(tmp_path / "mask.png"), "--engine=flagged", "--seed=3"]
    settings.SAFETY_CHECKER = "black"
    for more in ([], ["--safety-checker=blur"]):
        content, out = StringIO(), tmp_path / f"out{len(more)}.png"
        call_command(*command, *more, f"--out={out}", stdout=StringIO(), stderr=content)
        assert "What was painted is hidden" in content.getvalue()
        assert ("hides less" in content.getvalue()) == bool(more)
        pixels = pixels_of(out.read_bytes())
        assert not pixels[hole > 0].any()
        assert np.array_equal(pixels[hole == 0], photo[hole == 0])
    InferenceModel.objects.get(slug="safety-checker").switch(False)
    with pytest.raises(CommandError, match="No safety checker is installed"):
        call_command(*command, f"--out={tmp_path / 'never.png'}", stdout=StringIO(), stderr=StringIO())


def test_stored_settings_keep_both_fields() -> None:
    made = PaintSettings(safety_checker=True, safety_checker_type="blur")
    assert PaintSettings.from_dict({"safety_checker": True, "safety_checker_type": "blur"}) == made
