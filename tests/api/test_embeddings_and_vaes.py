"""Embeddings and VAEs in the API: added as parts, selected by requests, reported, refused when incompatible."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from inpainting.models import Generation, InferenceModel
from tests.api.bodies import shape_a, shape_b
from tests.api.painting import metadata_for, result
from tests.support import tiny_embeddings, tiny_models, tiny_vaes
from tests.support.catalog_entries import add_model
from tests.support.matrix import first_alone

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    tiny_models.saved(folder / "tiny")
    tiny_vaes.saved(folder / "soft")
    tiny_vaes.saved(folder / "quick", kind="AutoencoderTiny")
    for seed, slug in enumerate(("cat", "my-dog")):
        tiny_embeddings.saved(folder / f"{slug}.safetensors", seed=seed, vectors=2)
    tiny_embeddings.saved(folder / "large.safetensors", "sdxl")
    return folder


@pytest.fixture
def parts(scratch: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model, two VAEs and two embeddings for it, and an embedding for SDXL."""
    tiny_embeddings.allow(monkeypatch)
    add_model("tiny", scratch / "tiny", width=64, height=64, steps=3)
    for slug in ("soft", "quick"):
        add_model(slug, scratch / slug, "--kind", "vae")
    for slug in ("cat", "my-dog"):
        add_model(slug, scratch / f"{slug}.safetensors", "--kind", "embedding")
    add_model("large", scratch / "large.safetensors", "--kind", "embedding", family="sdxl")


def page_of(user: User, generation: Generation) -> str:
    browser = Client()
    browser.force_login(user)
    return browser.get(f"/generations/{generation.pk}/").content.decode()


def test_an_embedding_affects_only_requests_that_name_it(
    alices_program: Client, alice: User, parts: None, photo_png: bytes, mask_png: bytes
) -> None:
    plain = metadata_for(alices_program, photo_png, mask_png, prompt="a <cat> here")
    assert (plain["embeddings"], plain["warnings"]) == ([], [])
    without = result()
    content = metadata_for(alices_program, photo_png, mask_png, prompt="a <cat> here", embeddings='["cat"]')
    assert (content["embeddings"], content["warnings"]) == (["cat"], [])
    assert not np.array_equal(result(), without)
    page = page_of(alice, Generation.objects.latest("created_at"))
    assert "Embeddings" in page
    (warning,) = metadata_for(alices_program, photo_png, mask_png, prompt="a cat", embeddings='["my-dog"]')["warnings"]
    assert warning == "The embedding my-dog is not used: “<my-dog>” is in no prompt that the model reads."
    metadata_for(alices_program, photo_png, mask_png, prompt="a <cat> here")
    assert np.array_equal(result(), without)


@pytest.mark.parametrize("slug", first_alone("quick", "soft"))
def test_another_vae_changes_the_result_and_is_in_the_metadata(
    alices_program: Client, alice: User, parts: None, photo_png: bytes, mask_png: bytes, slug: str
) -> None:
    assert "vae" not in metadata_for(alices_program, photo_png, mask_png)
    own = result()
    assert metadata_for(alices_program, photo_png, mask_png, vae=slug)["vae"] == slug
    assert not np.array_equal(result(), own)
    generation = Generation.objects.latest("created_at")
    assert f'<td class="break">{slug}' in page_of(alice, generation)
    again = alices_program.post(
        f"/api/generations/{generation.pk}/run-again/", {"vae": ""}, content_type="application/json"
    )
    assert again.status_code in (200, 201, 202), again.json()
    assert Generation.objects.latest("created_at").paint_settings.vae is None
    assert "vae" not in metadata_for(alices_program, photo_png, mask_png, vae="")
    assert np.array_equal(result(), own)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"embeddings": ["missing"]}, "adapter_not_found", "embeddings"),
        ({"embeddings": ["../../etc/passwd"]}, "field_invalid", "embeddings"),
        ({"embeddings": ["soft"]}, "adapter_not_found", "embeddings"),
        ({"embeddings": ["large"]}, "adapter_unfit", "embeddings"),
        ({"embeddings": ["cat", "cat"]}, "field_invalid", "embeddings"),
        ({"embeddings": [f"x{n}" for n in range(9)]}, "field_out_of_range", "embeddings"),
        ({"embeddings": [3]}, "field_invalid", "embeddings"),
        ({"embeddings": {"cat": 1}}, "field_invalid", "embeddings"),
        ({"vae": "missing"}, "adapter_not_found", "vae"),
        ({"vae": "cat"}, "adapter_not_found", "vae"),
        ({"vae": 3}, "field_invalid", "vae"),
        ({"vae": "x" * 201}, "field_out_of_range", "vae"),
    ],
)
def test_a_missing_or_incompatible_part_is_refused_on_submit(
    alices_program: Client,
    parts: None,
    photo_png: bytes,
    mask_png: bytes,
    fields: dict[str, Any],
    code: str,
    field: str,
) -> None:
    answer = alices_program.post("/api/img2img", shape_b(photo_png, mask_png, **fields))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field), answer.json()
    assert Generation.objects.count() == 0


def test_text_that_is_neither_a_slug_nor_a_list_is_refused(
    alices_program: Client, parts: None, photo_png: bytes, mask_png: bytes
) -> None:
    for text in ("[" * 10_000, '"cat"', "{}"):
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, embeddings=text))
        assert (answer.status_code, answer.json()["field"]) == (400, "embeddings")


def test_a_vae_of_another_family_is_refused(
    alices_program: Client, parts: None, photo_png: bytes, mask_png: bytes
) -> None:
    InferenceModel.objects.filter(slug="soft").update(family="sdxl")
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, vae="soft"))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "adapter_unfit", "vae")
    assert "VAE soft is for models of the family sdxl" in answer.json()["message"]


def test_quick_fill_lists_them_as_ignored(
    alices_program: Client, parts: None, photo_png: bytes, mask_png: bytes
) -> None:
    content = metadata_for(alices_program, photo_png, mask_png, engine="quick-fill", vae="soft", embeddings='["cat"]')
    assert {"vae", "embeddings"} <= set(content["ignored"])


def test_parts_are_listed_with_the_models(alices_program: Client, parts: None) -> None:
    content = {
        part["slug"]: (part["kind"], part["family"]) for part in alices_program.get("/api/models").json()["adapters"]
    }
    assert content == {
        **dict.fromkeys(("cat", "my-dog"), ("embedding", "sd")),
        **dict.fromkeys(("soft", "quick"), ("vae", "sd")),
        "large": ("embedding", "sdxl"),
    }


@pytest.mark.parametrize(
    ("sent", "content"), [("cat", ["cat"]), (["cat", "dog"], ["cat", "dog"]), ('["cat", "dog"]', ["cat", "dog"])]
)
def test_a_form_may_repeat_the_field(
    alices_program: Client, photo_png: bytes, mask_png: bytes, sent: Any, content: list[str]
) -> None:
    body = shape_a(photo_png, mask_png, engine="quick-fill", embeddings=sent)
    assert alices_program.post("/api/img2img", body).json()["metadata"]["embeddings"] == content


def test_a_damaged_or_incompatible_file_is_not_added(parts: None, scratch: Path) -> None:
    for slug, family, says in (("large", "sd", "family sdxl, not sd"), ("cat", "sdxl", "family sd, not sdxl")):
        with pytest.raises(CommandError, match=says):
            add_model("new", scratch / f"{slug}.safetensors", "--kind", "embedding", family=family)
    with pytest.raises(CommandError, match="family sd, not sdxl"):
        add_model("new", scratch / "soft", "--kind", "vae", family="sdxl")
    assert not InferenceModel.objects.filter(slug="new").exists()


def test_the_command_line_takes_embeddings_and_a_vae(
    parts: None, photo_png: bytes, mask_png: bytes, tmp_path: Path
) -> None:
    for name, data in (("photo.png", photo_png), ("mask.png", mask_png)):
        (tmp_path / name).write_bytes(data)

    def inpaint(name: str, *more: str) -> bytes:
        files = (str(tmp_path / "photo.png"), str(tmp_path / "mask.png"), "-o", str(tmp_path / name))
        words = ("--prompt", "a <cat> and <my-dog>", "--seed", "3", *more)
        call_command("inpaint", *files, *words, stdout=io.StringIO(), stderr=io.StringIO())
        return (tmp_path / name).read_bytes()

    plain = inpaint("plain.png")
    painted = {
        inpaint("vae.png", "--vae", "soft"),
        inpaint("one.png", "--embedding", "cat"),
        inpaint("both.png", "--embedding", "cat", "--embedding", "my-dog"),
    }
    assert len(painted | {plain}) == 4
    with pytest.raises(CommandError, match="There is no VAE of that name"):
        inpaint("none.png", "--vae", "missing")


def test_the_editor_offers_parts_by_family(alice: User, parts: None) -> None:
    browser = Client()
    browser.force_login(alice)
    page = browser.get("/")
    offered = page.context["plan"]["form"]["adapters"]
    assert offered["vae"] == ["soft", "quick"]
    assert {"cat", "my-dog"} <= set(offered["embeddings"])
    assert "large" not in offered["embeddings"]  # it is for SDXL, and the model is not
    assert 'data-slug="large"' in page.content.decode()
