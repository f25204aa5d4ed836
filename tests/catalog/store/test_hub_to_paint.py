"""A model is pulled from the hub, and then used by the API and the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from numpy.typing import NDArray

pytest.importorskip("torch", reason="diffusion is not installed")

from inpainting.catalog.store.pull import remove_files
from inpainting.core.codecs import decode_image, read_png_texts
from inpainting.models import Generation, InferenceModel
from tests.api.bodies import shape_a
from tests.catalog.store.conftest import PutOnline
from tests.support import original_layout, tiny_models
from tests.support.hub import REPO, Hub, serving

pytestmark = pytest.mark.django_db(transaction=True)  # workers are notified on commit


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a complete pipeline, by name."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.saved(folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(files: dict[str, bytes], put_online: PutOnline) -> Iterator[Hub]:
    with serving(files) as hub:
        put_online(hub)
        yield hub


@pytest.fixture
def pulled(hub: Hub, models_dir: Path) -> InferenceModel:
    model = InferenceModel.objects.create(
        slug="tiny", label="Tiny", family="sd", repo=REPO, width=64, height=64, steps=3
    )
    call_command("pull_model", "tiny", "--yes", stdout=io.StringIO())
    hub.requested.clear()
    return model


def inpaint(*arguments: object) -> tuple[list[str], str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("inpaint", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue()


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(decode_image(path.read_bytes()).image.pixels)


@pytest.fixture
def folder(tmp_path: Path, photo_png: bytes, mask_png: bytes) -> Path:
    (tmp_path / "photo.png").write_bytes(photo_png)
    (tmp_path / "mask.png").write_bytes(mask_png)
    return tmp_path


def test_a_pulled_model_paints_through_the_api_and_the_command_line(
    alices_program: Client,
    hub: Hub,
    pulled: InferenceModel,
    folder: Path,
    photo_png: bytes,
    mask_png: bytes,
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    capfd: pytest.CaptureFixture[str],
) -> None:
    body = shape_a(photo_png, mask_png, prompt="a red bus", model="tiny", seed="3", denoising_strength="1")
    answer = alices_program.post("/api/img2img", body)
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert (metadata["engine"], metadata["model"]) == ("diffusion", "tiny")
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    through_the_api = np.asarray(Generation.objects.get().images.get(index=0).read().pixels)

    settings = ("--prompt", "a red bus", "--seed", 3, "--strength", 1, "--guidance-scale", metadata["guidance_scale"])
    where = (folder / "photo.png", folder / "mask.png", "-o", folder / "out.png")
    output, notes = inpaint(*where, "--engine", "diffusion", "--model", "tiny", *settings)
    assert output == [str(folder / "out.png")]
    assert "0 pixels changed outside the mask" in notes
    assert "3/3" in capfd.readouterr().err, "no progress was printed"
    painted = pixels(folder / "out.png")
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])
    assert np.array_equal(painted, through_the_api)
    recipe = json.loads(read_png_texts((folder / "out.png").read_bytes())["dreamlayer"])
    assert (recipe["model"], recipe["steps"]) == ("tiny", 3)
    assert hub.requested == [], "painting sent requests to the hub"


def test_the_command_line_options_reach_the_engine(pulled: InferenceModel, folder: Path) -> None:
    where = (folder / "photo.png", folder / "mask.png", "-o", folder / "out.png")
    several = ("--model", "tiny", "--num-images", 2, "--seed", 3, "--steps", 2)
    output, notes = inpaint(*where, *several, "--scheduler", "KarrasVeScheduler")
    assert output == [str(folder / "out.png"), str(folder / "out-2.png")]
    assert not np.array_equal(pixels(folder / "out.png"), pixels(folder / "out-2.png"))
    assert notes.count("HeunDiscreteScheduler") == 1
    assert '"steps": 2' in read_png_texts((folder / "out.png").read_bytes())["dreamlayer"]


def test_without_a_mask_the_whole_image_is_repainted_by_an_engine_that_can(
    pulled: InferenceModel, folder: Path, photo: NDArray[np.uint8]
) -> None:
    where = (folder / "photo.png", "-o", folder / "out.png", "--seed", 3, "--strength", 1)
    inpaint(*where, "--model", "tiny")
    assert (pixels(folder / "out.png") != photo).any(axis=-1).mean() > 0.9
    with pytest.raises(CommandError, match="MASK is missing"):
        inpaint(*where, "--engine", "quick-fill")


def test_the_images_of_a_folder_share_one_loaded_model(pulled: InferenceModel, folder: Path) -> None:
    (folder / "images").mkdir()
    for name in ("a", "b", "c"):
        (folder / "images" / f"{name}.png").write_bytes((folder / "photo.png").read_bytes())
    where = (folder / "images", folder / "mask.png", "-o", folder / "out")
    output, notes = inpaint(*where, "--model", "tiny", "--prompt", "a red bus", "--seed", 3, "--jobs", 3)
    assert sorted(output) == [str(folder / "out" / f"{name}.png") for name in "abc"]
    assert notes.count("0 pixels changed outside the mask") == 3


def test_the_error_for_a_missing_model_names_the_command_that_installs_it(pulled: InferenceModel, folder: Path) -> None:
    where = (folder / "photo.png", folder / "mask.png", "-o", folder / "out.png")
    with pytest.raises(CommandError, match="pull_model sd15"):
        inpaint(*where, "--model", "sd15")
    with pytest.raises(CommandError, match=r"the models are: .*tiny"):
        inpaint(*where, "--model", "nothing")


def test_a_local_checkpoint_paints_the_same_image_as_its_folder(
    pulled: InferenceModel, folder: Path, tmp_path: Path
) -> None:
    path = original_layout.saved(tiny_models.sd(tmp_path), tmp_path / "mine.safetensors")
    call_command("add_model", "mine", "--family=sd", f"--from={path}", "--config=tiny", stdout=io.StringIO())
    InferenceModel.objects.filter(slug="mine").update(width=64, height=64, steps=3)
    assert remove_files(pulled), "what was copied at the time is enough from now on"
    settings = ("--engine", "diffusion", "--model", "mine", "--prompt", "a red bus", "--seed", 3)
    inpaint(folder / "photo.png", folder / "mask.png", "-o", folder / "mine.png", *settings)
    call_command("pull_model", "tiny", "--yes", stdout=io.StringIO())
    settings = ("--engine", "diffusion", "--model", "tiny", *settings[4:])
    inpaint(folder / "photo.png", folder / "mask.png", "-o", folder / "tiny.png", *settings)
    assert np.array_equal(pixels(folder / "mine.png"), pixels(folder / "tiny.png"))
