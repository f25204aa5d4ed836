"""A small model hub on loopback for huggingface_hub, and tiny models to serve from it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from inpainting.catalog.inspection.formats.safetensors_header import TYPE_BITS

REPO = "somebody/tiny-inpainting"
COMMIT = "5e1f0c0de5e1f0c0de5e1f0c0de5e1f0c0de5e1f"
UNET_FP16 = "unet/diffusion_pytorch_model.fp16.safetensors"
LFS_BYTES = 1000
"""Files of so many bytes have a sha256 at the hub, smaller ones git's hash alone."""

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionInpaintPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def weights(*, seed: int = 0, name: str = "conv_in.weight", kilobytes: int = 4) -> bytes:
    """A safetensors file of random numbers, written by hand: a light installation has no library for it."""
    numbers = np.random.default_rng(seed).random((kilobytes, 256), np.float32)
    tensor = {"dtype": "F32", "shape": numbers.shape, "data_offsets": [0, numbers.nbytes]}
    header = json.dumps({name: tensor}).encode()
    return len(header).to_bytes(8, "little") + header + numbers.tobytes()


def checkpoint(
    *,
    channels: int = 9,
    features: int = 768,
    more: str = "cond_stage_model.x",
    further: Mapping[str, tuple[str, list[int]]] | None = None,
) -> bytes:
    """A checkpoint in the original layout, with the tensors by which its family is recognised.

    further: name -> type and shape.
    """
    shapes = {
        "model.diffusion_model.input_blocks.0.0.weight": [2, channels, 3, 3],
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [2, features],
        more: [1],
    }
    tensors = {name: ("F32", shape) for name, shape in shapes.items()} | dict(further or {})
    header: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape) in tensors.items():
        end = at + TYPE_BITS[dtype] // 8 * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + bytes(at)


def tiny_model(**changed: bytes | None) -> dict[str, bytes]:
    """The files of a model in diffusers' layout with the right configuration and arbitrary weights."""
    files: dict[str, bytes] = {
        "README.md": b"---\nlicense: creativeml-openrail-m\n---\nTiny.\n",
        "model_index.json": json.dumps(INDEX).encode(),
        "scheduler/scheduler_config.json": b'{"_class_name": "PNDMScheduler"}',
        "text_encoder/config.json": b'{"architectures": ["CLIPTextModel"]}',
        "text_encoder/model.safetensors": weights(seed=1),
        "tokenizer/merges.txt": b"#version: 0.2\n",
        "tokenizer/vocab.json": b"{}",
        "unet/config.json": b'{"_class_name": "UNet2DConditionModel", "in_channels": 9, "cross_attention_dim": 768}',
        "unet/diffusion_pytorch_model.safetensors": weights(seed=2),
        "unet/diffusion_pytorch_model.fp16.safetensors": weights(seed=3),
        "vae/config.json": b'{"_class_name": "AutoencoderKL"}',
        "vae/diffusion_pytorch_model.safetensors": weights(seed=4),
    }
    for name, content in changed.items():
        if content is None:
            del files[name]
        else:
            files[name] = content
    return files


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@dataclass
class Hub:
    """The files it serves, its deliberate faults, and the requests it received.

    cuts: bytes of a file to send before closing the connection, one entry a request; later requests get all.
    lies: bytes to send in place of the listed ones.
    """

    files: dict[str, bytes]
    repo: str = REPO
    commit: str = COMMIT
    cuts: dict[str, list[int]] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    requested: list[tuple[str, str]] = field(default_factory=list)
    """File and Range header of each GET."""
    url: str = ""

    def info(self) -> dict[str, Any]:
        return {
            "id": self.repo,
            "modelId": self.repo,
            "sha": self.commit,
            "private": False,
            "tags": [],
            "cardData": {"license": "creativeml-openrail-m"},
            "siblings": [listed(name, content) for name, content in self.files.items()],
        }


def listed(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LFS_BYTES:
        # As on the hub: the blob is a pointer file, whose hash is not that of the weights.
        entry["blobId"] = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            known = {f"/api/models/{hub.repo}", f"/api/models/{hub.repo}/revision/{hub.commit}"}
            if path in known:
                self.send(json.dumps(hub.info()).encode(), "application/json", with_body=with_body)
                return
            start = f"/{hub.repo}/resolve/{hub.commit}/"
            name = path.removeprefix(start)
            if not path.startswith(start) or name not in hub.files:
                self.send_response(404)
                known_repo = path.startswith(f"/api/models/{hub.repo}/")
                code = "RevisionNotFound" if known_repo else "EntryNotFound" if path.startswith(start) else ""
                self.send_header("X-Error-Code", code or "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_file(name, with_body=with_body)

        def send_file(self, name: str, *, with_body: bool) -> None:
            content = hub.lies.get(name, hub.files[name])
            wanted = self.headers.get("Range", "")
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if with_body:
                hub.requested.append((name, wanted))
            self.send_response(206 if wanted else 200)
            self.send_header("ETag", f'"{hashlib.sha256(hub.files[name]).hexdigest()}"')
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("Accept-Ranges", "bytes")
            if wanted:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            if with_body and hub.cuts.get(name):
                self.wfile.write(content[begin : begin + hub.cuts[name].pop(0)])
                self.close_connection = True
            elif with_body:
                self.wfile.write(content[begin:])

        def send(self, body: bytes, kind: str, *, with_body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
