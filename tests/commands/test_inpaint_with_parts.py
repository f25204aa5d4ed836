"""`manage.py inpaint` with LoRAs, a ControlNet, an IP-Adapter and reference images, on a fake engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from inpainting.core.adapter_uses import Region
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.models import InferenceModel, Lora
from tests.commands.running import inpaint
from tests.conftest import png
from tests.support import fake_diffusion

pytestmark = pytest.mark.django_db

GUIDE, LOOK = data.coffee()[:80, :100], data.chelsea()[:70, :90]
NUMBERS = {
    **{"control_strength": 1.5, "control_start": 0.1, "control_end": 0.9, "ip_adapter_scale": 0.4},
    **{"clip_skip": 2, "width": 128, "height": 64, "only_masked_padding": 5, "algorithm_type": "dpmsolver++"},
}


@pytest.fixture
def requests(settings: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """The requests that reach the engine. Adds guide.png and look.png to `folder`."""
    settings.MODELS_DIR = folder / "models"
    fake_diffusion.install_models()
    for slug in ("ink", "oil"):
        lora = Lora.objects.create(slug=slug, label=slug, family="sd", sha256="0" * 64, size_bytes=1)
        lora.path.parent.mkdir(parents=True, exist_ok=True)
        lora.path.write_bytes(b"x")
    (folder / "guide.png").write_bytes(png(np.asarray(GUIDE)))
    (folder / "look.png").write_bytes(png(np.asarray(LOOK)))
    return fake_diffusion.record_requests(monkeypatch)


def one(folder: Path, *more: object) -> tuple[str, str]:
    return inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", folder / "out.png", *more)


def test_adapters_and_their_images_reach_the_engine(requests: list[InpaintRequest], folder: Path) -> None:
    numbers = [word for name, value in NUMBERS.items() for word in (f"--{name.replace('_', '-')}", value)]
    parts = ("--control", "depth", "--control-image", folder / "guide.png")
    adapter = ("--ip-adapter", "look", "--ip-adapter-image", folder / "look.png")
    _, notes = one(folder, *parts, *adapter, *numbers, "--lora", "ink", "--lora", "oil:-0.5", "--use-karras-sigmas")
    (request,) = requests
    assert request.settings.loras == (LoraUse("ink", 1.0), LoraUse("oil", -0.5))
    assert (request.settings.control, request.settings.ip_adapter) == ("depth", "look")
    assert {name: getattr(request.settings, name) for name in NUMBERS} == NUMBERS
    assert request.settings.use_karras_sigmas is True
    assert request.conditioning_images["control_image"].size == request.image.size
    assert np.array_equal(request.conditioning_images["ip_adapter_image"].pixels, LOOK)
    assert "The control image is 100x80, the image 96x64" in notes
    assert "changes nothing" not in notes


@pytest.mark.django_db(transaction=True)  # folders are painted by threads
def test_an_editing_model_needs_no_mask_and_takes_reference_images(
    requests: list[InpaintRequest], folder: Path, photo: NDArray[np.uint8]
) -> None:
    scheduler = "FlowMatchEulerDiscreteScheduler"
    InferenceModel.objects.filter(slug="tiny").update(family="flux2-klein", scheduler=scheduler)
    words = ("--prompt", "a coat as in the other picture")
    looks = ("--reference-image", folder / "look.png", "--reference-image-3", folder / "guide.png")
    _, notes = inpaint(folder / "images/a.png", "-o", folder / "out.png", *words, *looks)
    (request,) = requests
    assert request.mask.all()
    assert list(request.conditioning_images) == ["reference_image", "reference_image_3"]
    assert np.array_equal(request.conditioning_images["reference_image"].pixels, LOOK)
    assert "not read" not in notes
    requests.clear()
    inpaint(folder / "images", "-o", folder / "edited", *words, *looks)
    assert [request.mask.all() for request in requests] == [True] * 3


def test_regions_and_their_masks_reach_the_engine(requests: list[InpaintRequest], folder: Path) -> None:
    (folder / "half.png").write_bytes(png(np.full((64, 96), 200, np.uint8)))
    listed = ("--region", "a cat", "--region", "a boat:0.5")
    masks = ("--region-mask", folder / "half.png", "--region-mask-2", folder / "look.png")
    _, notes = one(folder, *listed, *masks)
    (request,) = requests
    assert request.settings.regions == (Region("a cat"), Region("a boat", 0.5))
    assert int(request.conditioning_images["region_mask"].pixels[0, 0, 0]) == 200
    assert request.conditioning_images["region_mask_2"].size == request.image.size
    assert "The region mask is 90x70, the image 96x64" in notes
    with pytest.raises(CommandError, match="Region 2 needs a mask: send it as region_mask_2"):
        one(folder, *listed, *masks[:2])
    requests.clear()
    one(folder, "--region", "a cat <lora:ink:0.8><lora:oil>:0.6", "--region", "a boat <lora:ink:-1>", *masks)
    ink, oil = LoraUse("ink", 0.8), LoraUse("oil")
    assert requests[0].settings.regions == (
        Region("a cat", 0.6, (ink, oil)),
        Region("a boat", 1, (LoraUse("ink", -1),)),
    )
    with pytest.raises(CommandError, match="The weight of ink is no number: much"):
        one(folder, "--region", "a cat <lora:ink:much>", *masks[:2])
    with pytest.raises(CommandError, match="lists a LoRA more than once in one region"):
        one(folder, "--region", "<lora:ink><lora:ink:0.2>", *masks[:2])
    _, notes = one(folder, *listed, *masks, "--engine", "quick-fill")
    assert "--region changes nothing: quick-fill does not read it here." in notes


def test_an_image_is_inserted(requests: list[InpaintRequest], folder: Path, photo: NDArray[np.uint8]) -> None:
    insert = ("--insert-image", folder / "look.png")
    one(folder, *insert, "--insert-x", 50, "--insert-width", 12.5, "--insert-rotation=-30")
    assert requests == []
    cloned = np.asarray(Image.open(folder / "out.png"))
    assert (cloned != photo).any()
    (folder / "out.png").unlink()
    _, notes = one(folder, *insert, "--prompt", "a cat", "--strength", 0.5, "--insert-mode", "start")
    (request,) = requests
    assert (request.settings.insert_mode, request.settings.insert_x) == ("start", 50.5)
    assert request.conditioning_images["insert_image"].size == request.image.size
    assert "changes nothing" not in notes
    (folder / "out.png").unlink()
    _, notes = one(folder, "--insert-x", 50, "--engine", "quick-fill")
    assert "--insert-x changes nothing: quick-fill does not read it here." in notes
    with pytest.raises(CommandError, match="covers nothing of the mask"):
        one(folder, *insert, "--insert-x", -50)


@pytest.mark.django_db(transaction=True)  # they are painted by threads
def test_a_folder_takes_one_control_image_for_all_or_one_for_each(
    requests: list[InpaintRequest], folder: Path, photo: NDArray[np.uint8]
) -> None:
    (folder / "guides").mkdir()
    shades = {"a": 10, "b": 90, "c": 200}
    for name, shade in shades.items():
        (folder / f"guides/{name}.png").write_bytes(png(np.full_like(photo, shade)))
    images = (folder / "images", folder / "masks", "-o", folder / "out", "--control", "depth", "--control-image")
    inpaint(*images, folder / "guides")
    assert {
        int(request.conditioning_images["control_image"].pixels[0, 0, 0])
        for request in requests
        if request.conditioning_images.get("control_image")
    } == {10, 90, 200}
    requests.clear()
    for file in (folder / "out").iterdir():
        file.unlink()
    inpaint(*images, folder / "guide.png")
    assert len(requests) == 3
    (folder / "guides/b.png").unlink()
    with pytest.raises(CommandError, match=r"b\.png has no control image"):
        inpaint(*images, folder / "guides")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--control", "nobody"), "no ControlNet of that name"),
        (("--control", "depth"), "guided by a depth map"),
        (("--control", "depth", "--control-image", "none.png"), "does not exist"),
        (("--control", "canny", "--control-strength", "2.5"), "control_strength"),
        (("--control", "canny", "--control-start", "0.9", "--control-end", "0.1"), "control_start"),
        (("--ip-adapter", "look"), "needs an image prompt"),
        (("--ip-adapter", "depth"), "no IP-Adapter of that name"),
        (("--lora", "nobody"), "ink, oil"),
        (("--lora", "ink:3"), "weight"),
        (("--lora", "ink:much"), "much is not a number"),
        (("--lora", "ink:nan"), "weight"),
        (("--lora", "ink", "--lora", "ink"), "more than once"),
    ],
)
def test_invalid_arguments_are_reported(
    requests: list[InpaintRequest], folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        one(folder, *arguments)
    assert requests == []


def test_ignored_options_are_reported(requests: list[InpaintRequest], folder: Path) -> None:
    _, notes = one(folder, "--control", "canny", "--control-image", folder / "guide.png", "--ip-adapter-scale", "0.5")
    assert "control_image was not read: the input of canny is computed from the image." in notes
    assert "--ip-adapter-scale changes nothing" in notes
    _, notes = one(folder, "--engine", "quick-fill", "--control", "canny", "--lora", "ink")
    assert "--lora changes nothing: quick-fill does not read it here." in notes
    assert "--control changes nothing" in notes


def test_every_sent_option_that_quick_fill_ignores_is_reported_and_no_other(folder: Path) -> None:
    sent = {
        **{"prompt": "a cat", "strength": 0.5, "preset": "draft", "vae": "nonsense", "embedding": "nothing"},
        **{"steps": 3, "width": 128, "clip-skip": 2, "only-masked-padding": 9, "algorithm-type": "none"},
    }
    words = [word for option, value in sent.items() for word in (f"--{option}", value)]
    _, notes = one(folder, "--engine", "quick-fill", "--mask-grow", 2, "--seed", 3, *words, "--no-use-karras-sigmas")
    reported = [line.split(" changes nothing: ")[0] for line in notes.splitlines() if " changes nothing: " in line]
    assert reported == sorted(f"--{option}" for option in (*sent, "use-karras-sigmas"))
    _, notes = one(folder, "--engine", "quick-fill")
    assert "changes nothing" not in notes
