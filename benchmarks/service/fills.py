"""C1: thin scratches repainted over HTTP, compared with IOPaint and with the minimum work of a server."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np

from benchmarks.service.measuring import Report, at_once
from benchmarks.service.sites import Site, encoded, iopaint, scene
from inpainting.core.codecs import STORED_LIMITS, decode_picture, encode_png
from inpainting.core.picture import Picture

CALLERS = 4


def fills(site: Site, report: Report, peer_folder: Path | None) -> None:
    """IOPaint's cv2 (Telea, radius 3) gets the same picture and mask; with four callers the time is all four's."""
    if peer_folder is None:
        print("| C1 | IOPaint: skipped, no --iopaint names a virtual environment with it | | | | | | | | |")
    with iopaint(peer_folder) as peer:
        for side in (512, 1024, 2048):
            photo, mask = scene(side)
            white, black = encoded(mask, ".png"), encoded(255 - mask, ".png")
            for suffix in (".png", ".jpg"):
                image = encoded(photo, suffix)
                body = json.dumps(
                    {"image": base64.b64encode(image).decode(), "mask": base64.b64encode(white).decode(),
                     "cv2_flag": "INPAINT_TELEA", "cv2_radius": 3}
                ).encode()  # fmt: skip

                def ask_us(image: bytes = image, black: bytes = black) -> None:
                    assert site.fill(image, black)

                def ask_peer(body: bytes = body) -> None:
                    assert peer is not None
                    headers = {"Content-Type": "application/json"}
                    assert peer.ask("POST", "/api/v1/inpaint", body=body, headers=headers)[0] == 200

                def least(image: bytes = image, white: bytes = white) -> None:
                    decoded = decode_picture(image, limits=STORED_LIMITS).picture.pixels
                    damage = decode_picture(white, limits=STORED_LIMITS).picture.pixels
                    encode_png(Picture(cv2.inpaint(np.ascontiguousarray(decoded), damage, 3, cv2.INPAINT_TELEA)))

                name, baseline = f"fill {side} {suffix[1:]}", ask_peer if peer else None
                report.contest("C1", f"{name}, one caller", ask_us, baseline, "IOPaint 1.6.0 cv2")
                report.contest("C1", f"{name}, one caller", ask_us, least, "floor: decode, Telea, our PNG, no server")
                report.contest(
                    "C1",
                    f"{name}, four callers",
                    lambda ask=ask_us: at_once(CALLERS, ask),  # type: ignore[misc]
                    (lambda ask=ask_peer: at_once(CALLERS, ask)) if peer else None,  # type: ignore[misc]
                    "IOPaint 1.6.0 cv2",
                )
