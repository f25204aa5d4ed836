"""The safety checker settings of a request and of the site, resolved."""

from __future__ import annotations

import pytest

from inpainting.core.errors import InvalidRequest
from inpainting.core.moderation.policy import STAYS_ON, STRICTNESS, resolve
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import SAFETY_TYPES


@pytest.mark.parametrize("site", ["off", *SAFETY_TYPES])
@pytest.mark.parametrize("requested", [None, True, False])
@pytest.mark.parametrize("kind", [None, *SAFETY_TYPES])
def test_a_request_is_at_least_as_strict_as_the_site(site: str, requested: bool | None, kind: str | None) -> None:
    settings = PaintSettings(safety_checker=requested, safety_checker_type=kind)
    here, warnings = resolve(settings, site)
    if site == "off":
        assert here.safety_checker == requested
        assert here.safety_checker_type == ((kind or "sensitive_content_text") if requested else None)
        assert bool(warnings) == (kind is not None and not requested)
        return
    assert here.safety_checker
    assert here.safety_checker_type is not None
    assert STRICTNESS[here.safety_checker_type] >= STRICTNESS[site]
    is_weaker = kind is not None and STRICTNESS[kind] < STRICTNESS[site]
    assert here.safety_checker_type == (site if is_weaker or kind is None else kind)
    assert (STAYS_ON in warnings) == (requested is False)
    assert any("hides less" in warning for warning in warnings) == is_weaker
    assert len(warnings) == (requested is False) + is_weaker


def test_blur_leaves_most_and_black_and_the_notice_leave_nothing() -> None:
    assert sorted(SAFETY_TYPES, key=lambda name: STRICTNESS[name]) == [*SAFETY_TYPES]
    assert STRICTNESS["black"] == STRICTNESS["sensitive_content_text"]


def test_settings_know_no_other_type() -> None:
    with pytest.raises(InvalidRequest, match="blur, pixelate, black, sensitive_content_text"):
        PaintSettings(safety_checker_type="mosaic")
