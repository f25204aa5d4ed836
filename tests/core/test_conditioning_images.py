"""Control images and IP-Adapter images in canonical form."""

from __future__ import annotations

import numpy as np
from skimage import data

from inpainting.core.conditioning_images import prepare_control_image, prepare_whole_image
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import scaling_note
from tests.core.hostile import srgb_profile, swapped_profile


def test_any_control_image_becomes_rgb_of_the_source_images_size() -> None:
    depth = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40, 1)
    control = prepare_control_image(CanonicalImage(depth), Size(80, 60))
    assert (control.size, control.mode, control.bits) == (Size(80, 60), "RGB", 8)
    same = prepare_control_image(CanonicalImage(depth), Size(40, 30)).pixels
    assert np.array_equal(same, np.repeat(np.rint(depth / 257), 3, axis=2))
    photo = data.astronaut()
    small = prepare_control_image(CanonicalImage(photo), Size(128, 128)).pixels
    assert np.array_equal(small[0, 0], np.rint(photo[:4, :4].mean(axis=(0, 1))))  # averaged, not picked


def test_transparent_pixels_are_composited_on_white() -> None:
    clear = np.array([[[200, 100, 50, 0], [200, 100, 50, 255], [200, 100, 50, 51]]], np.uint8)
    on_white = [[255, 255, 255], [200, 100, 50], [244, 224, 214]]
    assert prepare_whole_image(CanonicalImage(clear)).pixels[0].tolist() == on_white
    assert prepare_control_image(CanonicalImage(clear), Size(3, 1)).pixels[0].tolist() == on_white
    grey = np.array([[[7, 0], [7, 255]]], np.uint8)
    assert prepare_whole_image(CanonicalImage(grey)).pixels[0].tolist() == [[255] * 3, [7] * 3]


def test_an_ip_adapter_image_keeps_its_size_and_is_converted_to_srgb() -> None:
    photo = data.chelsea()
    assert np.array_equal(prepare_whole_image(CanonicalImage(photo)).pixels, photo)
    assert np.abs(prepare_whole_image(CanonicalImage(photo, srgb_profile())).pixels.astype(int) - photo).max() <= 1
    swapped = prepare_whole_image(CanonicalImage(photo, swapped_profile()))
    assert not np.array_equal(swapped.pixels, photo)
    assert swapped.icc_profile is None


def test_the_warning_names_the_image_that_was_scaled() -> None:
    assert scaling_note(Size(9, 9), Size(9, 9), noun="control image") is None
    note = scaling_note(Size(9, 9), Size(18, 9), noun="control image")
    assert note is not None
    assert note.startswith("The control image is 9x9, the image 18x9: the control image was scaled to the image.")
