"""Where a model's files come from: what is offered, and how to get one file of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inpainting.catalog import families
from inpainting.catalog.families import OnnxLayout, SafetyCheckerLayout
from inpainting.catalog.inspection.adapter_files import check_part, wanted_part
from inpainting.catalog.inspection.model_files import (
    CONFIGURATION,
    INDEX,
    check_model,
    check_names,
    configuration_files,
    configuration_of,
    files_in,
    fits,
    header_of,
    text_features,
    wanted_checker_files,
    wanted_files,
    wanted_onnx,
)
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Kind, Source
from inpainting.core.errors import EngineFailed

CHUNK_BYTES = 4 * 2**20
OnBytes = Callable[[int], None]
"""Called with the number of bytes that have come since the last call."""


class ModelUnavailable(EngineFailed):
    """The files cannot be had: nobody answers, they are not there, or there is no room for them."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_unavailable")


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """One file: its name in the model's folder, its size, and the hashes that were promised for it, if any were.

    sha256: of the bytes, in hex. git_sha1: git's name of the blob, in hex.
    """

    name: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """All files of a model. revision: the hub's commit hash; of a folder, the one that is pinned already, or ""."""

    source: Source
    revision: str
    files: tuple[OfferedFile, ...]
    licence: str = ""

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


class Supply(Protocol):
    def offer(self, model: InferenceModel) -> Offer:
        """What a pull would bring. Raises ModelUnavailable, or ModelRefused where it may not come in."""
        ...

    def fetch(self, model: InferenceModel, offer: Offer, file: OfferedFile, part: Path, on_bytes: OnBytes) -> None:
        """Bring one file to `part`, going on behind what is there already. Raises ModelUnavailable."""
        ...


class LocalSupply:
    """A folder in diffusers' layout or of a safety checker, one `.safetensors` checkpoint, or one `.onnx` network.

    All are on this machine.

    config: for a checkpoint, whose file tells neither words nor times: the slug of an installed model whose
    configuration is copied with it, or a folder in diffusers' layout, with weights or without. "" is the first
    installed model that fits.
    """

    def __init__(self, path: Path, *, config: str = "") -> None:
        self.path = path
        self.config = config
        self._configuration: Path | None = None

    def offer(self, model: InferenceModel) -> Offer:
        if not self.path.exists():
            raise ModelUnavailable(f"There is no folder and no file {self.path}.")
        if model.kind != Kind.CHECKPOINT:
            return self.part(model)
        layout = families.get(model.family).layout
        if isinstance(layout, OnnxLayout):
            return self.network(model)
        check_model(self.path, model.family)
        if self.path.is_file():
            self._configuration = self.configuration(model)
            texts = configuration_files(self._configuration, model.family)
            source, names = Source.FILE, [self.path.name, *(f"{CONFIGURATION}/{name}" for name in texts)]
        else:
            source, present = Source.FOLDER, [path.relative_to(self.path).as_posix() for path in files_in(self.path)]
            if isinstance(layout, SafetyCheckerLayout):
                names = wanted_checker_files(present, model.variant)
            else:
                names = wanted_files(present, json.loads((self.path / INDEX).read_bytes()), model.variant, model.family)
        files = tuple(OfferedFile(name, self.place_of(name).stat().st_size) for name in names)
        return Offer(source, model.revision, files)

    def network(self, model: InferenceModel) -> Offer:
        """One ONNX file, or the one that is meant of a folder."""
        if self.path.is_dir():
            names = [path.relative_to(self.path).as_posix() for path in files_in(self.path)]
            check_names(names)
            self.path = self.path / wanted_onnx(names, model.variant)
        check_model(self.path, model.family)
        file = OfferedFile(self.path.name, self.path.stat().st_size)
        return Offer(Source.FILE, model.revision, (file,))

    def part(self, model: InferenceModel) -> Offer:
        """A part's files, or those that are meant of a folder."""
        if self.path.is_file():
            check_installable(self.path, model)
            return Offer(Source.FILE, model.revision, (OfferedFile(self.path.name, self.path.stat().st_size),))
        present = [path.relative_to(self.path).as_posix() for path in files_in(self.path)]
        check_names(present)
        names = wanted_part(present, Kind(model.kind), model.family, model.variant)
        files = tuple(OfferedFile(name, self.place_of(name).stat().st_size) for name in names)
        return Offer(Source.FOLDER, model.revision, files)

    def configuration(self, model: InferenceModel) -> Path:
        """The folder that tells what the checkpoint does not. Raises ModelUnavailable with what helps."""
        header = header_of(self.path)
        if self.config:
            other = InferenceModel.objects.filter(slug=self.config).first()
            named = Path(self.config).expanduser() if other is None else configuration_in(other)
            if named is None:
                raise ModelUnavailable(f"{self.config} is not installed; “python manage.py pull_model {self.config}”.")
            if not named.is_dir():
                raise ModelUnavailable(f"--config names an installed model or a folder; “{self.config}” is neither.")
            if not fits(header, named):
                raise ModelUnavailable(f"The configuration of {self.config} is that of another kind of model.")
            return named
        own = configuration_of(self.path)
        candidates = [own, *map(configuration_in, InferenceModel.objects.filter(family=model.family))]
        for folder in candidates:
            if folder is not None and folder.is_dir() and fits(header, folder):
                return folder
        width = text_features(header) or 0
        like = next((one.text_features[width] for one in families.registered() if width in one.text_features), "SLUG")
        raise ModelUnavailable(
            f"{self.path.name} holds weights alone, and there is no installed model whose configuration fits. "
            f"“python manage.py pull_model {like}” gets one; or name a folder "
            "in diffusers' layout, weights or not, with --config."
        )

    def fetch(self, model: InferenceModel, offer: Offer, file: OfferedFile, part: Path, on_bytes: OnBytes) -> None:
        with self.place_of(file.name).open("rb") as original, part.open("wb") as copy:
            while chunk := original.read(CHUNK_BYTES):
                copy.write(chunk)
                on_bytes(len(chunk))

    def place_of(self, name: str) -> Path:
        if self._configuration is not None and name.startswith(f"{CONFIGURATION}/"):
            return self._configuration / name.removeprefix(f"{CONFIGURATION}/")
        return self.path if self.path.is_file() else self.path / name


def check_installable(path: Path, model: InferenceModel) -> None:
    """The files of a model or of a part of one. Raises ModelRefused for what may not come in."""
    if model.kind == Kind.CHECKPOINT:
        check_model(path, model.family)
    else:
        check_part(path, model.family, Kind(model.kind))


def configuration_in(model: InferenceModel) -> Path | None:
    """The folder of an installed model that configures checkpoints of its kind; None where it is not installed."""
    weights = model.weights if model.is_installed else None
    if weights is None:
        return None
    return configuration_of(weights) if weights.is_file() else weights
