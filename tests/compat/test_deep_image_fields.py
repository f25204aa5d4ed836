"""Every field of Deep-Image's requests: it works, is listed as ignored, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from numpy.typing import NDArray

from accounts.models import User
from inpainting.api.compat.deep_image import DIALECT, translation
from inpainting.api.concurrency_limits import limit_segmentations
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.core.settings_table import DEFAULT_STRENGTH
from inpainting.generations import analyses
from inpainting.models import Analysis, Generation
from tests.compat.deep_image import (
    GENERATE,
    MASK_URL,
    PHOTO_URL,
    PROCESS_LATER,
    generating,
    has_message,
    inpainting,
    let_nothing_run,
    outpainting,
    post,
    refused,
    serve_images,
)
from tests.support.analyses import accepted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    serve_images(monkeypatch, photo, hole)


@pytest.fixture
def program(alices_key: str) -> Client:
    return Client(headers={"x-api-key": alices_key})


def test_outpainting_without_a_description_is_prompted_by_one_of_the_image(
    program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    answer = post(program, outpainting()).json()
    assert diffusion_requests[0].settings.prompt.startswith("a photo in ")
    note = f"No description was sent; the prompt is “{diffusion_requests[0].settings.prompt}”, by colours."
    assert note in answer["meta"]["warnings"]
    post(program, outpainting(**generating(description="a lawn")))
    post(program, inpainting())
    assert diffusion_requests[1].settings.prompt == "a lawn"
    assert all(not request.settings.prompt for request in diffusion_requests[2:])


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_outpainting_goes_on_where_the_captioning_model_is_incomplete(
    program: Client, diffusion_requests: list[InpaintRequest], tmp_path: Path, missing: str
) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "carried", "blip")
    call_command("pull_model", "blip-base", "--yes", f"--from={folder}", stdout=StringIO())
    (tmp_path / "models" / "blip-base" / missing).unlink()
    answer = post(program, outpainting())
    assert answer.status_code == 200
    assert diffusion_requests[0].settings.prompt.startswith("a photo in ")
    note = "The image was described by its colours alone: "
    assert any(warning.startswith(note) for warning in answer.json()["meta"]["warnings"])


@pytest.mark.parametrize("role", ["all", "web"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_worker_describes(
    program: Client, diffusion_requests: list[InpaintRequest], tmp_path: Path, settings: Any, broken: bool, role: str
) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "carried", "blip")
    call_command("pull_model", "blip-base", "--yes", f"--from={folder}", stdout=StringIO())
    if broken:
        (tmp_path / "models" / "blip-base" / "config.json").write_text("{}")
    settings.ROLE = role
    with accepted() as ids:
        warnings = post(program, outpainting()).json()["meta"]["warnings"]
    assert len(ids) == 1
    assert not Analysis.objects.exists()
    described_by = "colours" if broken else "blip-base"
    assert (
        f"No description was sent; the prompt is “{diffusion_requests[0].settings.prompt}”, by {described_by}."
        in warnings
    )
    assert any("by its colours alone" in warning for warning in warnings) == broken


@pytest.mark.parametrize("deleted", [False, True])
def test_the_colours_are_named_where_no_worker_describes(
    program: Client,
    diffusion_requests: list[InpaintRequest],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    deleted: bool,
) -> None:
    settings.ROLE = "web"
    monkeypatch.setattr(translation, "find_captioner", lambda catalog: object())
    forget = Analysis.objects.all().delete if deleted else (lambda: None)
    monkeypatch.setattr(analyses, "notify_workers", lambda queue: forget())
    monkeypatch.setattr("inpainting.api.analyses.DESCRIBE_SECONDS", 0.05)
    warnings = post(program, outpainting()).json()["meta"]["warnings"]
    assert diffusion_requests[0].settings.prompt.startswith("a photo in ")
    assert any("by its colours alone" in warning for warning in warnings)
    assert not Analysis.objects.exists()


@pytest.mark.usefixtures("diffusion_requests")
def test_descriptions_are_limited_as_segmentations_are(program: Client, alice: User, settings: Any) -> None:
    settings.SEGMENTATIONS_PER_USER = 1
    with limit_segmentations(alice):
        body = refused(post(program, outpainting()), 429)
        assert body["code"] == "TOO_MANY_REQUESTS"
        assert post(program, outpainting(**generating(description="a lawn"))).status_code == 200


def works(check: Callable[[Generation], bool]) -> Callable[[Any], None]:
    def confirm(got: Any) -> None:
        assert got.status_code == 200, got.content
        assert check(Generation.objects.get())

    return confirm


def ignored(name: str) -> Callable[[Any], None]:
    return works(lambda generation: name in DIALECT.meta(generation)["ignored"])


def is_refused(message: str = "", code: str = "BAD_REQUEST") -> Callable[[Any], None]:
    def confirm(got: Any) -> None:
        body = refused(got, 400)
        assert body["code"] == code
        assert message in body["message"]
        assert not Generation.objects.exists()

    return confirm


def set_to(**settings: Any) -> Callable[[Any], None]:
    return works(lambda generation: all(generation.settings[name] == value for name, value in settings.items()))


def sized(width: int, height: int) -> Callable[[Any], None]:
    return works(lambda generation: [generation.source.width, generation.source.height] == [width, height])


def enlarges(width: int, height: int) -> Callable[[Any], None]:
    """The source is stored as it is, and the result will have the size."""
    source, size = Size(96, 64), Size(width, height)
    return works(
        lambda generation: (
            generation.engine == "upscale"
            and (Size(generation.source.width, generation.source.height), generation.enlarged_to) == (source, size)
        )
    )


def background(name: str, value: Any) -> dict[str, Any]:
    return {**inpainting(), "background": {**inpainting()["background"], name: value}}


def removing(remove: Any = "auto", **fields: Any) -> dict[str, Any]:
    return {"url": PHOTO_URL, "background": {"remove": remove, **fields}}


ONLY_IGNORED = {
    **dict.fromkeys(("padding", "min_length", "max_length", "dpi", "upscale_strength"), 16),
    **dict.fromkeys(("safe", "caption", "generative_upscale"), True),
    **{f"print_{name}": 10 for name in ("width", "height", "size")},
    **{f"{name}_parameters": {"type": "v2"} for name in ("upscale", "light", "deblur", "denoise", "face_enhance")},
    "enhancements": ["denoise"],
    "preset": "holiday",
    "target": "storage://mine/result.png",
    "made_up": 1,
}
IGNORED_IN_GENERATE = {
    "model_type": "realistic",
    "color": "#ffffff",
    "item_area_percentage": 0.5,
    "face_id": True,
    "strength": 0.4,
    "quality": 90,
    "made_up": "value",
}
FIELDS: dict[str, tuple[dict[str, Any], Callable[[Any], None]]] = {
    "url": (inpainting(), sized(96, 64)),
    "url: missing": ({**inpainting(), "url": None}, lambda got: has_message(got, 400, "File or image url is required")),
    "url: storage": ({**inpainting(), "url": "storage://mine/photo.png"}, is_refused("source url/storage")),
    "url: unknown host": ({**inpainting(), "url": "https://nowhere.example/a.png"}, is_refused("source url/storage")),
    "url: no image": ({**inpainting(), "url": "base64,AAAA"}, is_refused("Unidentified image")),
    "url: no base64": ({**inpainting(), "url": "ftp://photos.example/beach.jpg"}, is_refused("Unidentified image")),
    "url: number": ({**inpainting(), "url": 5}, is_refused("url")),
    "width": ({**inpainting(), "width": 48}, sized(48, 32)),
    "height": ({**inpainting(), "height": "128"}, sized(192, 128)),
    "width and height": ({**inpainting(), "width": 48, "height": 48}, sized(48, 32)),
    "fit: another ratio": ({**inpainting(), "width": 48, "height": 48, "fit": "cover"}, ignored("fit")),
    "width: percentage": ({**inpainting(), "width": "50%"}, sized(48, 32)),
    "width: too large": (outpainting(width=10_001), is_refused("Image cannot be upscaled above 8192 x 8192 pixels")),
    "width: area": (outpainting(width=8000, height=8000), is_refused("Image cannot be upscaled above 6324 x 6324")),
    "width: zero": (outpainting(width=0), is_refused("width")),
    "width: text": (outpainting(width="wide"), is_refused("width")),
    "width: boolean": (outpainting(width=True), is_refused("width")),
    "width: outpainting without": (outpainting(width=None), is_refused("width and height")),
    "width: outpainting to the same size": (outpainting(width=96, height=64), sized(96, 64)),
    "width: outpainting to a smaller size of the same ratio": (outpainting(width=48, height=32), sized(48, 32)),
    "fit: outpainting": (outpainting(), sized(150, 100)),
    "fit: outpainting starts from the filled border": (outpainting(), set_to(strength=DEFAULT_STRENGTH)),
    "fit: inpainting repaints freely": (inpainting(), set_to(strength=1.0)),
    "width: larger": ({"url": PHOTO_URL, "width": 192}, enlarges(192, 128)),
    "width: larger, percentage": ({"url": PHOTO_URL, "width": "200%"}, enlarges(192, 128)),
    "width: larger, of another ratio": ({"url": PHOTO_URL, "width": 150, "height": 150}, enlarges(150, 100)),
    "width: larger, not reached": ({"url": PHOTO_URL, "width": 192, "height": 100}, ignored("width")),
    "width: larger, a cut-out": ({"url": PHOTO_URL, "width": 192, "fit": "crop"}, enlarges(192, 128)),
    "width: larger, adapter_type": (
        {"url": PHOTO_URL, "width": 192, **generating(adapter_type="upscale")},
        enlarges(192, 128),
    ),
    "width: larger, description": (
        {"url": PHOTO_URL, "width": 192, **generating(adapter_type="upscale", description="a lawn")},
        ignored(GENERATE + "description"),
    ),
    "width: larger, another background": (
        {"url": PHOTO_URL, "width": 192, **generating(description="a lawn")},
        is_refused("Only inpainting"),
    ),
    "width: no larger": ({"url": PHOTO_URL, "width": 48}, is_refused("it must be larger")),
    "width: too many times": ({"url": PHOTO_URL, "width": 960}, is_refused("at most 4 times")),
    "fit: no task": ({"url": PHOTO_URL}, is_refused("Only inpainting")),
    **{
        f"fit: {fit}": ({**inpainting(), "fit": fit}, sized(96, 64))
        for fit in ("canvas", "crop", "bounds", "cover", {"crop": "item"}, {"crop": "content"}, {"crop": "center"})
    },
    "fit: empty": ({**inpainting(), "fit": {}}, sized(96, 64)),
    "fit: unknown": (outpainting(fit="stretch"), is_refused("fit")),
    "fit: unknown canvas": (outpainting(fit={"canvas": "mirror"}), is_refused("fit")),
    "fit: blur": (outpainting(fit={"canvas": "blur"}), sized(150, 100)),
    "fit: blur without a size": (outpainting(fit={"canvas": "blur"}, height=None), is_refused("width and height")),
    "fit: blur, adapter_type": (
        outpainting(fit={"canvas": "blur"}, **generating(adapter_type="upscale")),
        ignored(GENERATE + "adapter_type"),
    ),
    "fit: blur, description": (
        outpainting(fit={"canvas": "blur"}, **generating(description="a lawn")),
        ignored(GENERATE + "description"),
    ),
    "fit: list": (outpainting(fit=["canvas"]), is_refused("fit")),
    "adapter_type: inpainting": (inpainting(), works(lambda generation: generation.painted_pixels < 1000)),
    "adapter_type: upscale, outpainting": (outpainting(**generating(adapter_type="upscale")), sized(150, 100)),
    "adapter_type: the default, outpainting": (
        outpainting(**generating(adapter_type="generate_background")),
        sized(150, 100),
    ),
    "adapter_type: both tasks": (
        outpainting(**inpainting()),
        works(lambda generation: generation.painted_pixels > 150 * 100 - 96 * 64),
    ),
    **{
        f"adapter_type: {name}": (
            {"url": PHOTO_URL, **generating(adapter_type=name, description="a dog")},
            is_refused(said),
        )
        for name, said in {
            "generate_background": "Only inpainting",
            "upscale": "Only inpainting",
            "face": "not available",
            "control": "not available",
            "control2": "not available",
            "made_up": "not available",
        }.items()
    },
    "adapter_type: face, outpainting": (outpainting(**generating(adapter_type="face")), is_refused("not available")),
    "ip_image2": (inpainting(), works(lambda generation: generation.painted_pixels > 0)),
    "ip_image2: missing": (inpainting(ip_image2=None), is_refused("ip_image2")),
    "ip_image2: no image": (inpainting(ip_image2="base64,AAAA"), is_refused("Unidentified image")),
    "ip_image2: storage": (inpainting(ip_image2="storage://mine/mask.png"), is_refused("source url/storage")),
    "ip_image2: outpainting": (outpainting(**generating(ip_image2=MASK_URL)), ignored(GENERATE + "ip_image2")),
    "description": (inpainting(description="a lawn"), set_to(prompt="a lawn")),
    "description: not read without a model": (inpainting(description="a lawn"), ignored(GENERATE + "description")),
    "description: too long": (inpainting(description="a" * 10_001), is_refused("10001 characters")),
    "additional_prompt": (
        inpainting(description="a lawn", additional_prompt="sunny"),
        set_to(prompt="a lawn, sunny"),
    ),
    "negative_prompt": (inpainting(negative_prompt="people"), set_to(negative_prompt="people")),
    "negative_prompt: not read without a model": (
        inpainting(negative_prompt="people"),
        ignored(GENERATE + "negative_prompt"),
    ),
    "sample_num": (inpainting(sample_num=77), set_to(seed=77)),
    "sample_num: text": (inpainting(sample_num="77"), set_to(seed=77)),
    "sample_num: words": (inpainting(sample_num="many"), is_refused("background")),
    "controlnet_conditioning_scale: none installed": (
        inpainting(controlnet_conditioning_scale=0.5),
        ignored(GENERATE + "controlnet_conditioning_scale"),
    ),
    "controlnet_conditioning_scale: out of range": (
        inpainting(controlnet_conditioning_scale=1.5),
        is_refused("controlnet_conditioning_scale"),
    ),
    **{
        f"generate.{name}": (inpainting(**{name: value}), ignored(GENERATE + name))
        for name, value in IGNORED_IN_GENERATE.items()
    },
    "generate: not an object": (
        {"url": PHOTO_URL, "background": {"generate": "a lawn"}},
        is_refused("background"),
    ),
    "background: not an object": ({"url": PHOTO_URL, "background": "a lawn"}, is_refused("background")),
    "background.remove": (background("remove", "auto"), ignored("background.remove")),
    "background.remove alone": (removing(), sized(96, 64)),
    "background.remove: false": (removing(False), is_refused("Only inpainting")),
    "background.remove: another algorithm": (removing("v3"), is_refused("background.remove must be one of")),
    "background.remove: list": (removing(["auto"]), is_refused("background.remove must be a text")),
    "background.remove: generated": (removing(generate={"description": "a lawn"}), is_refused("Only inpainting")),
    "background.remove: width": ({**removing(), "width": "50%"}, sized(48, 32)),
    "background.remove: crop": ({**removing(), "fit": {"crop": "item"}}, ignored("fit")),
    "background.remove: bounds": ({**removing(), "width": 48, "fit": "bounds"}, sized(48, 32)),
    "background.remove: png": ({**removing(), "output_format": "png"}, set_to(output_format="png")),
    "background.color: odd": (removing(color="blue"), is_refused("background.color must be")),
    "background.color: list": (removing(color=[1, 2, 3]), is_refused("background.color must be a text")),
    "background.color: empty": (removing(color=""), sized(96, 64)),
    "background.color: false": (removing(color=False), sized(96, 64)),
    "background.color alone": (
        outpainting(fit={"canvas": "blur"}, background={"color": "#ffffff"}),
        ignored("background.color"),
    ),
    "background.color": (background("color", "#ffffff"), ignored("background.color")),
    "background.replace": (background("replace", "item"), ignored("background.replace")),
    "output_format: default": (inpainting(), set_to(output_format="png")),
    "output_format: jpeg": ({**inpainting(), "output_format": "jpeg"}, set_to(output_format="jpeg")),
    "output_format: jpg": ({**inpainting(), "output_format": "jpg"}, set_to(output_format="jpeg")),
    "output_format: webp": ({**inpainting(), "output_format": "webp"}, set_to(output_format="webp")),
    "output_format: unknown": ({**inpainting(), "output_format": "tiff"}, is_refused("output_format")),
    "quality": ({**inpainting(), "output_format": "jpg", "quality": 40}, set_to(quality=40)),
    "quality: lowest": ({**inpainting(), "output_format": "jpg", "quality": 0}, set_to(quality=1)),
    "quality: too high": ({**inpainting(), "output_format": "jpg", "quality": 101}, is_refused("quality")),
    "quality: png": ({**inpainting(), "output_format": "png", "quality": 40}, ignored("quality")),
    "output_quality": ({**inpainting(), "output_format": "jpg", "output_quality": "40"}, set_to(quality=40)),
    "max_file_size": (
        {**inpainting(), "output_format": "jpg", "max_file_size": 500_000},
        set_to(max_file_kilobytes=500),
    ),
    "max_file_size: text": (
        {**inpainting(), "output_format": "jpg", "max_file_size": "1.5MB"},
        set_to(max_file_kilobytes=1500),
    ),
    "max_file_size: png": ({**inpainting(), "output_format": "png", "max_file_size": "1MB"}, ignored("max_file_size")),
    "max_file_size: words": ({**inpainting(), "max_file_size": "small"}, is_refused("max_file_size")),
    "max_file_size: nothing": ({**inpainting(), "max_file_size": 0}, is_refused("max_file_size")),
    "webhooks": ({**inpainting(), "webhooks": {}}, sized(96, 64)),
    "webhooks.complete: forbidden": (
        {**inpainting(), "webhooks": {"complete": "http://169.254.169.254/"}},
        is_refused("webhooks.complete"),
    ),
    "webhooks.failed": (
        {**inpainting(), "webhooks": {"failed": "https://hooks.example/"}},
        ignored("webhooks.failed"),
    ),
    **{name: ({**inpainting(), name: value}, ignored(name)) for name, value in ONLY_IGNORED.items()},
    "an odd name": ({**inpainting(), "a\r\nSet-Cookie: b": 1}, ignored("(another name)")),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_works_or_is_listed_as_ignored_or_refused(
    name: str, program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_nothing_run(monkeypatch)
    body, confirm = FIELDS[name]
    confirm(post(program, body, PROCESS_LATER))
