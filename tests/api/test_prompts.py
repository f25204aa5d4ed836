"""Prompts in the API and the command line: weights, long prompts, the guidance interval."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from inpainting.models import Generation
from tests.api.bodies import shape_a, shape_b
from tests.api.painting import metadata_for, result
from tests.support import tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.saved(folder)
    return folder


@pytest.fixture
def model(tiny: Path, models_dir: Path) -> None:
    add_model("tiny", tiny, width=64, height=64, steps=4)


def test_weights_change_the_result_and_the_prompt_is_stored_as_sent(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    images = []
    for prompt in ("a red bus", "a (red:1.5) bus", "a red bus, " * 30):
        metadata = metadata_for(alices_program, photo_png, mask_png, prompt=prompt)
        assert (metadata["prompt"], metadata["warnings"]) == (prompt, [])
        images.append(result().tobytes())
    assert len(set(images)) == 3


def test_truncated_words_are_in_the_warnings(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    (warning,) = metadata_for(alices_program, photo_png, mask_png, prompt="bus " * 200 + "zebra")["warnings"]
    assert warning == "The prompt is longer than the model reads (600 tokens); not read: “zebra”."
    (warning,) = metadata_for(alices_program, photo_png, mask_png, negative_prompt="(blur:9)")["warnings"]
    assert warning == "“9” is no weight: they go from 0 to 5."


def test_a_guidance_interval_changes_the_result_and_is_in_the_metadata(
    alices_program: Client, alice: User, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    metadata_for(alices_program, photo_png, mask_png)
    always = result()
    metadata = metadata_for(alices_program, photo_png, mask_png, guidance_start="0.25", guidance_end="0.75")
    assert (metadata["guidance_start"], metadata["guidance_end"], metadata["ignored"]) == (0.25, 0.75, [])
    assert not np.array_equal(result(), always)
    browser = Client()
    browser.force_login(alice)
    page = browser.get(f"/generations/{Generation.objects.latest('created_at').pk}/").content.decode()
    assert "Guided from, share of the steps" in page


def test_the_interval_is_ignored_without_guidance(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    metadata = metadata_for(
        alices_program, photo_png, mask_png, guidance_scale="1", guidance_end="0.5", negative_prompt="blur"
    )
    assert metadata["ignored"] == ["guidance_end", "negative_prompt"]
    metadata = metadata_for(alices_program, photo_png, mask_png, engine="quick-fill", guidance_end="0.5")
    assert "guidance_end" in metadata["ignored"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"guidance_start": "1.1"}, "guidance_start"),
        ({"guidance_end": "-0.1"}, "guidance_end"),
        ({"guidance_start": "nan"}, "guidance_start"),
        ({"guidance_start": "0.6", "guidance_end": "0.5"}, "guidance_start"),
        ({"guidance_start": "1"}, "guidance_start"),
    ],
)
def test_an_invalid_interval_is_refused(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes, fields: dict[str, str], field: str
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields))
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert Generation.objects.count() == 0


def test_numbers_in_params_are_clamped(alices_program: Client, model: None, photo_png: bytes, mask_png: bytes) -> None:
    metadata = alices_program.post("/api/img2img", shape_b(photo_png, mask_png, guidance_end=7)).json()["metadata"]
    assert metadata["guidance_end"] == 1
    assert "guidance_end was 7.0; 1.0 was used." in metadata["warnings"]


def test_the_command_line_takes_the_interval(model: None, photo_png: bytes, mask_png: bytes, tmp_path: Path) -> None:
    for name, data in (("photo.png", photo_png), ("mask.png", mask_png)):
        (tmp_path / name).write_bytes(data)

    def inpaint(name: str, *more: str) -> bytes:
        files = (str(tmp_path / "photo.png"), str(tmp_path / "mask.png"), "-o", str(tmp_path / name))
        words = ("--prompt", "a red bus", "--seed", "3", *more)
        call_command("inpaint", *files, *words, stdout=io.StringIO(), stderr=io.StringIO())
        return (tmp_path / name).read_bytes()

    assert inpaint("all.png") != inpaint("some.png", "--guidance-start", "0.25", "--guidance-end", "0.75")
    with pytest.raises(CommandError, match="must start before it ends"):
        inpaint("none.png", "--guidance-start", "0.75", "--guidance-end", "0.25")
