"""The types of the fields of bodies."""

from __future__ import annotations

from typing import Annotated

import pytest

from inpainting.api.fields import Fields, Number, Range
from inpainting.core.errors import InvalidRequest


def test_limits_are_reported_as_each_field_declares_them() -> None:
    class Whole(Fields):
        share: Annotated[Number, Range(0, 1)]

    class Real(Fields):
        share: Annotated[Number, Range(0.0, 1.0)]

    for form, limits in ((Whole, "between 0 and 1"), (Real, "between 0.0 and 1.0"), (Whole, "between 0 and 1")):
        with pytest.raises(InvalidRequest, match=limits):
            form.read({"share": 2})
