"""The size of an enlarged image: by a factor or by a side, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inpainting.core.codecs.intake import DEFAULT_LIMITS
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.upscaling import Upscale

IMAGE = Size(101, 67)


@pytest.mark.parametrize(
    ("upscale", "size"),
    [
        (Upscale(), Size(202, 134)),
        (Upscale(scale=1.5), Size(152, 100)),
        (Upscale(scale=4), Size(404, 268)),
        (Upscale(width=303), Size(303, 201)),
        (Upscale(height=201), Size(303, 201)),
        (Upscale(width=303, height=200), Size(303, 200)),
        (Upscale(width=102), Size(102, 68)),
    ],
)
def test_the_size_follows_from_a_factor_or_from_a_side(upscale: Upscale, size: Size) -> None:
    assert upscale.size_of(IMAGE) == size


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"scale": 1.4}, "scale"),
        ({"scale": 4.1}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": 2.0, "width": 300}, "width"),
        ({"width": 0}, "width"),
        ({"width": 101}, "width"),
        ({"width": 405}, "width"),
        ({"height": 300}, "height"),
        ({"width": 300, "height": 300}, "height"),
    ],
)
def test_other_sizes_are_refused_by_the_name_of_the_field(values: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Upscale(**values).size_of(IMAGE)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_limits_of_images_apply_to_the_result() -> None:
    limits = replace(DEFAULT_LIMITS, max_pixels=30_000, max_pixels_16_bit=20_000, max_side=250)
    eight = CanonicalImage(np.zeros((67, 101, 3), np.uint8))
    sixteen = CanonicalImage(np.zeros((67, 101, 3), np.uint16))
    assert Upscale(scale=2).checked_size(eight, limits) == Size(202, 134)
    for image, scale in ((eight, 2.2), (eight, 3), (sixteen, 2)):
        with pytest.raises(InvalidRequest, match="after upscaling") as caught:
            Upscale(scale=scale).checked_size(image, limits)
        assert (caught.value.code, caught.value.field) == ("image_dimensions", "scale")
