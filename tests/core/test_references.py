"""What guides a painting and what it looks at, as a request has them."""

from __future__ import annotations

import numpy as np
from skimage import data

from inpainting.core.geometry import Size
from inpainting.core.masks import scaling_note
from inpainting.core.picture import Picture
from inpainting.core.references import as_control_image, as_ip_adapter_image
from tests.core.hostile import srgb_profile, swapped_profile


def test_a_control_image_is_rgb_of_the_images_size_whatever_it_was() -> None:
    depth = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40, 1)
    control = as_control_image(Picture(depth), Size(80, 60))
    assert (control.size, control.mode, control.bits) == (Size(80, 60), "RGB", 8)
    same = as_control_image(Picture(depth), Size(40, 30)).pixels
    assert np.array_equal(same, np.repeat(np.rint(depth / 257), 3, axis=2))
    photo = data.astronaut()
    small = as_control_image(Picture(photo), Size(128, 128)).pixels
    assert np.array_equal(small[0, 0], np.rint(photo[:4, :4].mean(axis=(0, 1))))  # averaged, not picked


def test_what_is_transparent_lies_on_white() -> None:
    clear = np.array([[[200, 100, 50, 0], [200, 100, 50, 255], [200, 100, 50, 51]]], np.uint8)
    on_white = [[255, 255, 255], [200, 100, 50], [244, 224, 214]]
    assert as_ip_adapter_image(Picture(clear)).pixels[0].tolist() == on_white
    assert as_control_image(Picture(clear), Size(3, 1)).pixels[0].tolist() == on_white
    grey = np.array([[[7, 0], [7, 255]]], np.uint8)
    assert as_ip_adapter_image(Picture(grey)).pixels[0].tolist() == [[255] * 3, [7] * 3]


def test_what_is_looked_at_keeps_its_size_and_is_shown_in_the_colours_that_it_means() -> None:
    photo = data.chelsea()
    assert np.array_equal(as_ip_adapter_image(Picture(photo)).pixels, photo)
    assert np.abs(as_ip_adapter_image(Picture(photo, srgb_profile())).pixels.astype(int) - photo).max() <= 1
    swapped = as_ip_adapter_image(Picture(photo, swapped_profile()))
    assert not np.array_equal(swapped.pixels, photo)
    assert swapped.icc_profile is None


def test_the_note_says_what_was_scaled() -> None:
    assert scaling_note(Size(9, 9), Size(9, 9), noun="control image") is None
    note = scaling_note(Size(9, 9), Size(18, 9), noun="control image")
    assert note is not None
    assert note.startswith("The control image is 9x9, the image 18x9: the control image was scaled to the image.")
