"""Descriptions by BLIP and Florence-2, equal to transformers' own pipelines, and by the colours without a model."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from PIL import Image
from skimage import data

from inpainting.captioning import NO_MODEL, Caption, CaptionStyle, describe_colours, find_captioner
from inpainting.captioning.blip import BLIP
from inpainting.captioning.florence2 import FLORENCE2
from inpainting.core.image import CanonicalImage
from inpainting.models import InferenceModel

pytestmark = pytest.mark.usefixtures("models_folder", "db")


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        ((250, 250, 250), "a photo in white"),
        ((5, 5, 5), "a photo in black"),
        ((220, 30, 30), "a photo in red"),
        ((30, 60, 220), "a photo in blue"),
        ((30, 160, 40), "a photo in green"),
    ],
)
def test_without_a_model_the_commonest_colours_are_named(colour: tuple[int, int, int], text: str) -> None:
    pixels = np.full((50, 70, 3), colour, np.uint8)
    for image in (CanonicalImage(pixels), CanonicalImage(pixels.astype(np.uint16) * 257)):
        assert (describe_colours(image).text, describe_colours(image).captioner) == (text, NO_MODEL)
    assert describe_colours(CanonicalImage(pixels), CaptionStyle.ANIME).text == text.replace(
        "a photo", "an anime drawing"
    )


def describe(image: CanonicalImage, style: CaptionStyle = CaptionStyle.PHOTO) -> Caption:
    """By the model that was installed."""
    captioner = find_captioner()
    assert captioner
    return captioner.describe(image, style)


def test_blip_describes_as_transformers_does(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    import torch
    import transformers
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "carried", "blip")
    call_command("pull_model", "blip-base", "--yes", f"--from={folder}", stdout=StringIO())
    photo = data.coffee()
    images = BlipImageProcessorPil.from_pretrained(folder)
    processor = transformers.BlipProcessor(images, transformers.AutoTokenizer.from_pretrained(folder))
    model = transformers.BlipForConditionalGeneration.from_pretrained(folder).eval()
    for style, beginning in ((CaptionStyle.PHOTO, "a photo of"), (CaptionStyle.ANIME, "an anime drawing of")):
        inputs = processor(images=Image.fromarray(photo), text=beginning, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=40, num_beams=3, do_sample=False)
        caption = describe(CanonicalImage(photo), style)
        assert caption.text == processor.decode(tokens[0], skip_special_tokens=True).strip()
        assert caption.captioner == InferenceModel.objects.get(slug="blip-base").slug


def test_florence_2_describes_as_transformers_does(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    import torch
    import transformers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "carried", "florence2")
    call_command("pull_model", "florence2-base", "--yes", f"--from={folder}", stdout=StringIO())
    photo = data.coffee()
    processor = transformers.Florence2Processor(
        CLIPImageProcessorPil.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    )
    model = transformers.Florence2ForConditionalGeneration.from_pretrained(folder).eval()
    inputs = processor(images=Image.fromarray(photo), text="<CAPTION>", return_tensors="pt")
    assert tiny_vision_models.WORDS.index("<image>") in inputs["input_ids"]
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=60, num_beams=3, do_sample=False)
    sentence = processor.decode(tokens[0], skip_special_tokens=True).strip().rstrip(".")
    assert sentence
    for image in (CanonicalImage(photo), CanonicalImage(photo.astype(np.uint16) * 257)):
        caption = describe(image)
        assert (caption.text, caption.captioner) == (f"a photo of {sentence}", "florence2-base")
    assert describe(CanonicalImage(photo), CaptionStyle.ANIME).text == f"an anime drawing of {sentence}"
    assert describe(CanonicalImage(photo[:1, :40])).text.startswith("a photo of")


@pytest.mark.parametrize("height", [1, 3])
def test_blip_reads_the_rows_of_a_image_a_few_pixels_high(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "blip", "blip")
    spec = InferenceModel.objects.get(slug="blip-base").spec
    model, processor = BLIP.load(spec, folder)
    fed: list[Any] = []
    generate = model.generate

    def record(**inputs: Any) -> Any:
        fed.append(inputs["pixel_values"][0])
        return generate(**inputs)

    monkeypatch.setattr(model, "generate", record)
    red = np.zeros((height, 40, 3), np.uint8)
    red[..., 0] = 255
    BLIP.caption((model, processor), spec, red, "a photo")
    (seen,) = fed  # [3, side, side]
    assert seen[0].std() < 1e-5
    assert seen[0].mean() > seen[1].mean()


def test_blip_is_fed_as_by_its_authors_with_the_published_settings(tmp_path: Path) -> None:
    """salesforce/BLIP, predict.py: 384 pixels square, bicubic, CLIP's normalisation; 3 beams, no sampling. The words
    are free, as in the model's card; the authors' own are “an image of”."""
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import published_preprocessors as published
    from tests.support import tiny_vision_models

    folder = published.put_into(tiny_vision_models.saved(tmp_path / "blip", "blip"), "blip")
    spec, photo = InferenceModel.objects.get(slug="blip-base").spec, data.coffee()[:, :530]
    _, processor = BLIP.load(spec, folder)
    inputs = published.fed_by(lambda: BLIP.caption((published.Recorder(), processor), spec, photo, "a photo"))
    expected = published.scaled(photo, 384, 384, Image.Resampling.BICUBIC, published.CLIP)
    assert np.allclose(inputs["pixel_values"][0], expected, atol=1e-5)
    words = [tiny_vision_models.WORDS[token] for token in inputs["input_ids"][0]]
    assert words == ["[CLS]", "a", "photo", "of", "[SEP]"]  # the model replaces the first and leaves out the last
    assert (inputs["num_beams"], inputs["do_sample"], inputs["max_new_tokens"]) == (3, False, 40)


def test_florence_2_is_fed_as_by_its_authors_with_the_published_settings(tmp_path: Path) -> None:
    """microsoft/Florence-2-base, processing_florence2.py: 768 pixels square, bicubic, 577 tokens for the image, and
    the question of the task “<CAPTION>”; 3 beams, no sampling, as in the model's card."""
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import published_preprocessors as published
    from tests.support import tiny_vision_models

    folder = published.put_into(tiny_vision_models.saved(tmp_path / "florence2", "florence2"), "florence2")
    spec, photo = InferenceModel.objects.get(slug="florence2-base").spec, data.coffee()[:, :530]
    _, processor = FLORENCE2.load(spec, folder)
    inputs = published.fed_by(lambda: FLORENCE2.caption((published.Recorder(), processor), spec, photo, "a photo"))
    expected = published.scaled(photo, 768, 768, Image.Resampling.BICUBIC, published.IMAGENET)
    assert np.allclose(inputs["pixel_values"][0], expected, atol=1e-5)
    words = [tiny_vision_models.WORDS[token] for token in inputs["input_ids"][0]]
    question = ["what", "does", "the", "image", "describe", "?"]
    assert words == ["<image>"] * 577 + ["[CLS]", *question, "[SEP]"]
    assert (inputs["num_beams"], inputs["do_sample"], inputs["max_new_tokens"]) == (3, False, 60)
