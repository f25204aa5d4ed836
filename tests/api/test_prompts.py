"""How words are read and followed, by the API and the command line: weights, long prompts, guidance in some steps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from inpainting.models import Generation
from tests import tiny_models
from tests.api.bodies import shape_a, shape_b
from tests.api.painting import asked, result
from tests.catalogued import add_model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.saved(folder)
    return folder


@pytest.fixture
def model(tiny: Path, models_dir: Path) -> None:
    add_model("tiny", tiny, width=64, height=64, steps=4)


def test_weights_change_the_painting_and_the_prompt_is_kept_as_it_was_sent(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    pictures = []
    for prompt in ("a red bus", "a (red:1.5) bus", "a red bus, " * 30):
        told = asked(alices_program, photo_png, mask_png, prompt=prompt)
        assert (told["prompt"], told["warnings"]) == (prompt, [])
        pictures.append(result().tobytes())
    assert len(set(pictures)) == 3


def test_words_that_are_not_heard_are_in_the_warnings(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    (warning,) = asked(alices_program, photo_png, mask_png, prompt="bus " * 200 + "zebra")["warnings"]
    assert warning == "The prompt is longer than the model reads (600 tokens); not read: “zebra”."
    (warning,) = asked(alices_program, photo_png, mask_png, negative_prompt="(blur:9)")["warnings"]
    assert warning == "“9” is no weight: they go from 0 to 5."


def test_guidance_in_some_of_the_steps_is_another_picture_and_told(
    alices_program: Client, alice: User, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    asked(alices_program, photo_png, mask_png)
    always = result()
    told = asked(alices_program, photo_png, mask_png, guidance_start="0.25", guidance_end="0.75")
    assert (told["guidance_start"], told["guidance_end"], told["ignored"]) == (0.25, 0.75, [])
    assert not np.array_equal(result(), always)
    browser = Client()
    browser.force_login(alice)
    page = browser.get(f"/generations/{Generation.objects.latest('created_at').pk}/").content.decode()
    assert "Guided from, share of the steps" in page


def test_without_guidance_its_interval_is_among_the_ignored(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes
) -> None:
    told = asked(alices_program, photo_png, mask_png, guidance_scale="1", guidance_end="0.5", negative_prompt="blur")
    assert told["ignored"] == ["guidance_end", "negative_prompt"]
    told = asked(alices_program, photo_png, mask_png, engine="quick-fill", guidance_end="0.5")
    assert "guidance_end" in told["ignored"]


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
def test_an_interval_that_is_none_is_refused(
    alices_program: Client, model: None, photo_png: bytes, mask_png: bytes, fields: dict[str, str], field: str
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields))
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert Generation.objects.count() == 0


def test_front_ends_numbers_are_clamped(alices_program: Client, model: None, photo_png: bytes, mask_png: bytes) -> None:
    told = alices_program.post("/api/img2img", shape_b(photo_png, mask_png, guidance_end=7)).json()["metadata"]
    assert told["guidance_end"] == 1
    assert "guidance_end was 7.0; 1.0 was used." in told["warnings"]


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
