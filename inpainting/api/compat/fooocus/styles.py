"""Styles: words that are added to a prompt, under the names that Fooocus has published. The texts are our own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Style(NamedTuple):
    prompt: str
    negative_prompt: str = ""


STYLES = {
    "Fooocus V2": Style("fine detail, natural light, balanced composition"),
    "Fooocus Enhance": Style("", "blurry, low resolution, distorted, deformed, watermark, text, cropped"),
    "Fooocus Sharp": Style("in sharp focus, crisp edges", "out of focus, soft, smeared"),
    "Fooocus Negative": Style("", "ugly, bad anatomy, extra limbs, low quality, compression artifacts"),
    "Fooocus Photograph": Style("photograph, 50 mm lens, film grain, natural colours", "painting, drawing, render"),
    "Fooocus Cinematic": Style("film still, shallow depth of field, dramatic light", "drawing, cartoon, snapshot"),
    "Fooocus Masterpiece": Style(
        "masterful work, rich detail, harmonious colours", "sketchy, unfinished, worst quality"
    ),
    "Fooocus Semi Realistic": Style("semi-realistic digital painting, soft shading", "photograph, flat colours"),
    "SAI 3D Model": Style("3D model, ray-traced render, studio light", "photograph, drawing, low poly"),
    "SAI Analog Film": Style("analog film photograph, grain, faded colours, vignette", "digital, painting, drawing"),
    "SAI Anime": Style("anime illustration, clean line art, vivid colours", "photograph, realistic, 3D render"),
    "SAI Cinematic": Style("cinematic film still, widescreen, moody light", "drawing, cartoon, amateur"),
    "SAI Comic Book": Style("comic book panel, ink outlines, halftone shading", "photograph, realistic"),
    "SAI Craft Clay": Style("made of modelling clay, stop motion, visible fingerprints", "smooth, drawing"),
    "SAI Digital Art": Style("digital concept art, matte painting, detailed", "photograph, realistic"),
    "SAI Enhance": Style("highly detailed, high resolution", "noisy, blurry, low contrast"),
    "SAI Fantasy Art": Style("fantasy painting, magical light, epic scenery", "photograph, modern, plain"),
    "SAI Isometric": Style("isometric view, orthographic, clean shapes", "perspective, photograph"),
    "SAI Line Art": Style("line art drawing, fine ink lines, minimal shading", "colour, photograph, 3D"),
    "SAI Lowpoly": Style("low-poly 3D scene, flat facets", "smooth, photograph, noisy"),
    "SAI Neonpunk": Style("neon-lit night scene, glowing magenta and cyan", "daylight, pastel, painting"),
    "SAI Origami": Style("folded paper, origami, crisp creases", "photograph of people, noisy"),
    "SAI Photographic": Style("35 mm photograph, bokeh, professional", "drawing, painting, render"),
    "SAI Pixel Art": Style("pixel art, limited palette, 16-bit game", "smooth, photograph, blurry"),
    "SAI Texture": Style("seamless texture, seen from above, even light", "perspective, shadows"),
}


def apply_styles(prompt: str, negative_prompt: str, names: Iterable[str]) -> tuple[str, str]:
    """Return both prompts with the words of the styles behind them; unknown names change nothing."""
    styles = [STYLES[name] for name in names if name in STYLES]
    return (
        ", ".join(filter(None, [prompt, *(style.prompt for style in styles)])),
        ", ".join(filter(None, [negative_prompt, *(style.negative_prompt for style in styles)])),
    )
