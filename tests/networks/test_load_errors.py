"""What a caller reads about a network that cannot be loaded names no folder of the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils import translation

from inpainting.core.places import without_places
from inpainting.core.sentences import sentence
from inpainting.networks.load_errors import MAX_CHARACTERS, reason_of
from inpainting.translation import translated

MODEL = Path("/srv/My Models/kitten")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no file in /srv/My Models/kitten/unet.", "no file in kitten/unet."),
        ("[Errno 2] No such file: '/home/me/.cache/hub/config.json'", "[Errno 2] No such file: 'config.json'"),
        ("Load model from /opt/x/y.onnx failed", "Load model from y.onnx failed"),
        ("(/opt/x/y)", "(y)"),
        (r"no file C:\models\kitten\vae.json", "no file vae.json"),
        ("see https://huggingface.co/docs/x/y, or unet/config.json", None),
        ("a width of 3/4", None),
    ],
)
def test_absolute_paths_are_cut(text: str, shown: str | None) -> None:
    assert without_places(text, MODEL) == (text if shown is None else shown)


def test_a_sentence_stays_one() -> None:
    shown = without_places(sentence("There is no file {file}.", file=MODEL / "unet"), MODEL)
    assert shown == "There is no file kitten/unet."
    with translation.override("de"):
        assert translated(shown) == "Es gibt keine Datei kitten/unet."


def test_links_are_cut_as_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "with a space" / "kitten").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "with a space" / "kitten")
    text = f"{(tmp_path / 'link').resolve()}/unet and {tmp_path}/link/unet"
    assert without_places(text, tmp_path / "link") == "kitten/unet and link/unet"


def test_a_reason_is_one_line_or_the_name_of_the_error() -> None:
    assert reason_of(ValueError("first\nsecond"), None) == "first"
    assert reason_of(KeyError(), None) == "KeyError"
    assert len(reason_of(ValueError("x" * 1000), None)) == MAX_CHARACTERS
