"""A web server on loopback with a photo and its mask, in place of the hosts that published examples name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (384, 256)


def photo() -> Image.Image:
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    texture = np.random.default_rng(7).integers(-6, 7, (SIZE[1], SIZE[0], 3))
    scene = np.stack([rows // 2, columns // 2, 255 - (rows + columns) // 3], axis=-1) + texture
    return Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))


def mask() -> Image.Image:
    """White is repainted."""
    image = Image.new("L", SIZE)
    ImageDraw.Draw(image).ellipse([140, 80, 220, 160], fill=255)
    return image


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    data = BytesIO()
    image.save(data, format)
    return data.getvalue()


def write_images(folder: Path) -> None:
    """The files that published examples open in their own folder."""
    for name in ("input.jpg", "input.png", "photo.png"):
        photo().save(folder / name)
    mask().save(folder / "mask.png")


class Images(BaseHTTPRequestHandler):
    """The mask for every path with “mask” in it, else the photo, as JPEG where the path ends so."""

    def do_GET(self) -> None:
        is_jpeg = self.path.endswith(".jpg")
        data = encoded(mask()) if "mask" in self.path else encoded(photo(), "JPEG" if is_jpeg else "PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg" if is_jpeg else "image/png")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def image_host() -> Iterator[int]:
    """The port of a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
