"""The system checks report an enabled safety checker that cannot run."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inpainting.moderation import warn_where_unavailable
from tests.support.fakes import pretend_missing


def error_of_the_check() -> str:
    call_command("check", fail_level="ERROR")
    with pytest.raises(CommandError) as error:
        call_command("check", fail_level="WARNING")
    return str(error.value)


def test_the_check_fails_where_a_light_installation_cannot_run_the_safety_checker(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_missing(monkeypatch, "torch")
    call_command("check", fail_level="WARNING")
    settings.SAFETY_CHECKER = "blur"
    assert "cannot run it: nothing will be painted" in error_of_the_check()


def test_an_unknown_value_is_refused(settings: Any) -> None:
    settings.SAFETY_CHECKER = "Blur"
    with pytest.raises(CommandError, match="off, blur, pixelate, black or sensitive_content_text"):
        call_command("check")


@pytest.mark.parametrize("setting", ["off", "black"])
def test_without_the_model_the_error_names_the_command_that_installs_it(
    db: None, settings: Any, caplog: pytest.LogCaptureFixture, setting: str
) -> None:
    settings.SAFETY_CHECKER = setting
    with caplog.at_level(logging.WARNING):
        warn_where_unavailable()
    assert ("pull_model safety-checker" in caplog.text) == (setting == "black")
