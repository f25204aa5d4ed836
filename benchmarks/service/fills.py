"""C1: fills over HTTP, compared with IOPaint, with the least work of any server, and with parts of their own work."""

from __future__ import annotations

import base64
import json
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.outpainting import quick_fill_plan
from benchmarks.service.measuring import Report, at_once
from benchmarks.service.sites import Site, encoded, iopaint, scene
from inpainting.core.codecs import STORED_LIMITS, decode_image, encode_png
from inpainting.core.codecs.formats import JPEG, encode_copy
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.core.settings_table import DEFAULT_QUALITY, PaintSettings
from inpainting.engines.painting import paint
from inpainting.engines.quick_fill.engine import QuickFill

CALLERS = 4
PEER, FLOOR = "IOPaint 1.6.0 cv2", "floor: decode, Telea, our PNG, no server"


def fills(site: Site, report: Report, peer_folder: Path | None) -> None:
    if peer_folder is None:
        print("| C1 | IOPaint: skipped, no --iopaint names a virtual environment with it | | | | | | | | |")
    with iopaint(peer_folder) as peer:
        for side in (512, 1024, 2048):
            for suffix in (".png", ".jpg"):
                thin_damage(site, report, peer, side, suffix)
    jpeg_response(site, report)
    erased_object(site, report)


def thin_damage(site: Site, report: Report, peer: Site | None, side: int, suffix: str) -> None:
    """IOPaint's cv2 (Telea, radius 3) gets the same image and mask; with four callers the time is all four's."""
    photo, mask = scene(side)
    image, white, black = encoded(photo, suffix), encoded(mask, ".png"), encoded(255 - mask, ".png")
    texts = {"image": base64.b64encode(image).decode(), "mask": base64.b64encode(white).decode()}
    body = json.dumps({**texts, "cv2_flag": "INPAINT_TELEA", "cv2_radius": 3}).encode()

    def ask_us() -> None:
        assert site.fill(image, black)

    def ask_peer() -> None:
        assert peer is not None
        assert peer.ask("POST", "/api/v1/inpaint", body=body, headers={"Content-Type": "application/json"})[0] == 200

    def least() -> None:
        decoded = decode_image(image, limits=STORED_LIMITS).image.pixels
        damage = decode_image(white, limits=STORED_LIMITS).image.pixels
        encode_png(CanonicalImage(cv2.inpaint(np.ascontiguousarray(decoded), damage, 3, cv2.INPAINT_TELEA)))

    for callers, noun in ((1, "one caller"), (CALLERS, "four callers")):
        name = f"fill {side} {suffix[1:]}, {noun}"
        clocks = (site.processor_seconds, peer.processor_seconds) if peer else None
        ours, theirs = partial(at_once, callers, ask_us), partial(at_once, callers, ask_peer)
        report.contest("C1", name, ours, theirs if peer else None, PEER, processors=clocks)
        floor_clocks = (site.processor_seconds, time.process_time)
        report.contest("C1", name, ours, partial(at_once, callers, least), FLOOR, processors=floor_clocks)


def jpeg_response(site: Site, report: Report) -> None:
    """A result as a JPEG beside the same as a PNG and the encoding of the JPEG alone."""
    photo, mask = scene(1024)
    image, black = encoded(photo, ".png"), encoded(255 - mask, ".png")
    canonical = CanonicalImage(photo)

    def as_png_and_encode() -> None:
        site.fill(image, black)
        encode_copy(canonical, JPEG, DEFAULT_QUALITY)

    report.contest(
        "C1",
        "fill 1024 png, response as JPEG",
        partial(site.fill, image, black, output_format="jpeg"),
        as_png_and_encode,
        "the response as PNG, then the encoding alone",
    )


def erased_object(site: Site, report: Report) -> None:
    photo = cv2.resize(scene(768)[0], (768, 512), interpolation=cv2.INTER_AREA)
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.ellipse(mask, (384, 300), (90, 60), 0, 0, 360, 255, -1)
    image, black = encoded(photo, ".png"), encoded(255 - mask, ".png")
    plan = quick_fill_plan(InpaintRequest(CanonicalImage(photo), mask, PaintSettings(seed=1)))
    report.contest(
        "C1",
        "erase an object of 180x120 from 768x512 png",
        partial(site.fill, image, black),
        lambda: paint(plan, QuickFill(), lambda step: None),
        "the painting alone, without a server",
        processors=(site.processor_seconds, time.process_time),
    )
