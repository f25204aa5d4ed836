"""`manage.py check` refuses unknown values of settings with fixed choices, and limits of 0."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from dreamlayer_site.checks import POSITIVE
from dreamlayer_site.former_variables import REMOVED, RENAMED, refuse_former
from inpainting.checks import CHOICES, IMAGE_LIMITS
from inpainting.networks.device import quantization
from tests.support.installation import ROOT


@pytest.mark.parametrize("word", ["0", "Off", "cpu", ""])
@pytest.mark.parametrize("name", CHOICES)
def test_a_setting_with_fixed_values_has_one_of_them(settings: Any, name: str, word: str) -> None:
    choices, _ = CHOICES[name]
    for known in choices:
        setattr(settings, name, known)
        call_command("check")
    setattr(settings, name, word)
    with pytest.raises(CommandError, match=rf"(?s)DREAMLAYER_{name} is “{word}”.*HINT: It is {' or '.join(choices)}"):
        call_command("check")


@pytest.mark.parametrize("name", IMAGE_LIMITS)
def test_a_limit_on_images_is_within_what_it_may_be_raised_to(settings: Any, name: str) -> None:
    highest = IMAGE_LIMITS[name]
    for possible in (1, highest):
        setattr(settings, name, possible)
        call_command("check")
    for wrong in (0, -1, highest + 1, float("nan")):
        setattr(settings, name, wrong)
        with pytest.raises(CommandError, match=rf"(?s)DREAMLAYER_{name} is .*HINT: It is 1 to {highest}"):
            call_command("check")
        for command in (("inpaint", "photo.png", "mask.png", "-o", "out.png"), ("mask", "photo.png", "-o", "out.png")):
            with pytest.raises(CommandError, match=f"DREAMLAYER_{name} is"):
                call_command(*command, skip_checks=False)


@pytest.mark.parametrize(("word", "library"), [("int8", "torchao"), ("nf4", "bitsandbytes")])
def test_a_quantisation_is_known_and_its_library_installed(
    settings: Any, monkeypatch: pytest.MonkeyPatch, word: str, library: str
) -> None:
    settings.DIFFUSION_QUANTIZATION = "int4"
    with pytest.raises(
        CommandError, match=r"(?s)QUANTIZATION is “int4”.*HINT: It is off or int8 or float8 or float8-dynamic or nf4"
    ):
        call_command("check")
    settings.DIFFUSION_QUANTIZATION = word
    for is_installed in (True, False):
        monkeypatch.setattr(quantization, "is_installed", lambda name, yes=is_installed: yes or name != library)
        messages = [check.hint for check in run_checks() if check.id == "inpainting.W002"]
        assert [f"pip install {library}" in str(hint) for hint in messages] == ([] if is_installed else [True])


@pytest.mark.parametrize("name", POSITIVE)
def test_a_limit_of_zero_is_refused(settings: Any, name: str) -> None:
    setattr(settings, name, 0)
    with pytest.raises(CommandError, match=f"DREAMLAYER_{name} is 0"):
        call_command("check")


@pytest.mark.parametrize("former", RENAMED)
def test_a_variable_under_its_former_name_stops_the_start_and_names_the_new_one(former: str) -> None:
    command = [sys.executable, "manage.py", "check"]
    started = subprocess.run(command, cwd=ROOT, env={**os.environ, former: "web"}, capture_output=True, text=True)
    assert started.returncode != 0
    assert f"{former} is now {RENAMED[former]}" in started.stderr


@pytest.mark.parametrize("former", REMOVED)
def test_a_variable_that_is_no_longer_read_stops_the_start_with_what_holds_instead(former: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{former} no longer exists: {REMOVED[former]}"):
        refuse_former({former: "1"})
    assert former not in (ROOT / "dreamlayer_site/settings.py").read_text()
