"""System checks of the settings of images, the safety checker, the diffusion engine and the ModelsLab API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from inpainting.core.codecs.intake import HIGHEST_MEBIBYTES, HIGHEST_MEGAPIXELS, HIGHEST_SIDE
from inpainting.core.moderation.policy import OFF
from inpainting.core.settings_table import SAFETY_TYPES
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.media.signing import site_identity
from inpainting.networks.device import quantization

CHOICES = {
    "DIFFUSION_OPENVINO": (("auto", "off"), "inpainting.E002"),
    "DIFFUSION_COMPILE": (("auto", "off", "blocks"), "inpainting.E005"),
}
"""Settings with fixed values -> these, and the identifier of the message."""


@register("security")
def safety_checker_can_run(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse unknown values; warn if the checker is on and cannot run, since then every request is refused."""
    if settings.SAFETY_CHECKER not in (OFF, *SAFETY_TYPES):
        return [
            Error(
                f"DREAMLAYER_SAFETY_CHECKER is “{settings.SAFETY_CHECKER}”.",
                hint=f"It is {OFF}, {', '.join(SAFETY_TYPES[:-1])} or {SAFETY_TYPES[-1]}.",
                id="inpainting.E001",
            )
        ]
    if settings.SAFETY_CHECKER == OFF or DIFFUSION.is_installed:
        return []
    return [
        Warning(
            "DREAMLAYER_SAFETY_CHECKER is on, and this light installation cannot run it: nothing will be painted.",
            hint="“pip install .[diffusion]” adds what it needs; “python manage.py pull_model safety-checker” gets it.",
            id="inpainting.W001",
        )
    ]


@register("security")
def credentials_can_be_signed(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse a file of Content Credentials that cannot be read or holds no key with its certificate, and an address for
    time stamps that is none of a web server."""
    try:
        site_identity(settings.SECRET_KEY, settings.CONTENT_CREDENTIALS_PEM)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        return [
            Error(
                f"DREAMLAYER_CONTENT_CREDENTIALS_PEM is “{settings.CONTENT_CREDENTIALS_PEM}”: {error}.",
                hint="It is a PEM file with a private key without a password and its certificates, its own one first.",
                id="inpainting.E007",
            )
        ]
    address = settings.CONTENT_CREDENTIALS_TIMESTAMP_URL
    if address and not is_web_address(address):
        return [
            Error(
                "DREAMLAYER_CONTENT_CREDENTIALS_TIMESTAMP_URL is no web address.",
                hint="It is the http:// or https:// address of a server of RFC 3161.",
                id="inpainting.E008",
            )
        ]
    return []


def is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:  # an unclosed bracket in the host
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


IMAGE_LIMITS = {"MAX_MEGAPIXELS": HIGHEST_MEGAPIXELS, "MAX_SIDE": HIGHEST_SIDE, "MAX_IMAGE_MB": HIGHEST_MEBIBYTES}
"""Limits on images -> what each may be raised to."""
IMAGE_LIMITS_TAG = "image_limits"
"""Names the check of these to commands that read images and leave out other checks."""


@register(IMAGE_LIMITS_TAG)
def image_limits_are_in_range(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse limits beyond what the program was measured with, and those that admit no image."""
    return [
        Error(f"DREAMLAYER_{name} is {getattr(settings, name):g}.", hint=f"It is 1 to {highest}.", id="inpainting.E006")
        for name, highest in IMAGE_LIMITS.items()
        if not 1 <= getattr(settings, name) <= highest
    ]


@register()
def choices_are_known(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse unknown values, which would silently be those that change nothing."""
    return [
        Error(
            f"DREAMLAYER_{name} is “{getattr(settings, name)}”.", hint=f"It is {' or '.join(choices)}.", id=identifier
        )
        for name, (choices, identifier) in CHOICES.items()
        if getattr(settings, name) not in choices
    ]


@register()
def quantization_is_known_and_installed(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse unknown values, and warn where the library is missing, since then no model can be loaded."""
    word = settings.DIFFUSION_QUANTIZATION
    if word not in (quantization.OFF, *quantization.QUANTIZATIONS):
        return [
            Error(
                f"DREAMLAYER_DIFFUSION_QUANTIZATION is “{word}”.",
                hint=f"It is {quantization.OFF} or {' or '.join(quantization.QUANTIZATIONS)}.",
                id="inpainting.E004",
            )
        ]
    if word == quantization.OFF or not DIFFUSION.is_installed:
        return []
    library = quantization.QUANTIZATIONS[word].library
    if quantization.is_installed(library):
        return []
    return [
        Warning(
            f"DREAMLAYER_DIFFUSION_QUANTIZATION is {word}, and {library} is not installed: no diffusion model can be "
            "loaded.",
            hint=f"“pip install {library}” adds it.",
            id="inpainting.W002",
        )
    ]
