"""Who decides about the safety checker."""

from __future__ import annotations

import pytest

from inpainting.core.errors import InvalidRequest
from inpainting.core.request import SAFETY_TYPES, PaintSettings
from inpainting.core.safety import STAYS_ON, STRICTNESS, settled


@pytest.mark.parametrize("instance", ["off", *SAFETY_TYPES])
@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize("kind", [None, *SAFETY_TYPES])
def test_a_request_is_at_least_as_strict_as_the_site(instance: str, asked: bool | None, kind: str | None) -> None:
    wanted = PaintSettings(safety_checker=asked, safety_checker_type=kind)
    here, warnings = settled(wanted, instance)
    if instance == "off":
        assert here.safety_checker == asked
        assert here.safety_checker_type == ((kind or "sensitive_content_text") if asked else None)
        assert bool(warnings) == (kind is not None and not asked)
        return
    assert here.safety_checker
    assert here.safety_checker_type is not None
    assert STRICTNESS[here.safety_checker_type] >= STRICTNESS[instance]
    is_weaker = kind is not None and STRICTNESS[kind] < STRICTNESS[instance]
    assert here.safety_checker_type == (instance if is_weaker or kind is None else kind)
    assert (STAYS_ON in warnings) == (asked is False)
    assert any("hides less" in warning for warning in warnings) == is_weaker
    assert len(warnings) == (asked is False) + is_weaker


def test_blur_leaves_most_and_black_and_the_sentence_leave_nothing() -> None:
    assert sorted(SAFETY_TYPES, key=lambda name: STRICTNESS[name]) == [*SAFETY_TYPES]
    assert STRICTNESS["black"] == STRICTNESS["sensitive_content_text"]


def test_settings_know_no_other_type() -> None:
    with pytest.raises(InvalidRequest, match="blur, pixelate, black, sensitive_content_text"):
        PaintSettings(safety_checker_type="mosaic")
