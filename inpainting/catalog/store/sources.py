"""Sources of model files: list their files and copy or download each of them."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection import image_encoders
from inpainting.catalog.inspection.adapter_files import (
    adapter_files,
    check_adapter,
    check_ip_adapter_header,
    single_file_configuration,
    single_file_name,
)
from inpainting.catalog.inspection.few_step_models import few_step_checkpoint
from inpainting.catalog.inspection.files import (
    CHUNK_BYTES,
    CONFIG,
    IMAGE_ENCODER,
    INDEX,
    PICKLES,
    WEIGHTS,
    ModelRefused,
    check_names,
    check_single_file,
    json_in,
    names_in,
    unsafe_names,
)
from inpainting.catalog.inspection.formats.checkpoint_file import (
    CONFIGURATION,
    can_configure,
    configuration_files,
    configuration_folder,
    is_trained_to_fill,
    usual_configuration,
)
from inpainting.catalog.inspection.formats.component_file import (
    ComponentFile,
    component_labels,
    families_of_component_file,
    read_component_file,
)
from inpainting.catalog.inspection.formats.diffusers_folder import SCHEDULER_CONFIG, WHOLE_WEIGHTS
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.catalog.inspection.inpaint_patch import PATCH
from inpainting.catalog.inspection.model_files import check_model, model_files
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Kind, Source
from inpainting.catalog.store.inpaint_patches import patched_models, unpickle
from inpainting.catalog.store.unpickling import write_weights
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import paragraph, sentence
from inpainting.families.layouts import DiffusersLayout, OnnxLayout, WeightsLayout

OnBytes = Callable[[int], None]
"""Called with the number of bytes received since the last call."""


class ModelUnavailable(EngineFailed):
    """Raised where files cannot be had: the hub does not answer, they are not there, or the disk is too small."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_unavailable")


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file, and the hashes that its source promises, if any."""

    name: str
    """The name in the model's folder."""
    size: int
    """Bytes of the file."""
    sha256: str = ""
    """Hash of the bytes, in hex."""
    git_sha1: str = ""
    """Hash of git's blob, in hex."""
    md5: str = ""
    """Hash of the bytes, in hex."""

    @property
    def published_hash(self) -> str:
        """The hash that the source promises, with its name; "" where it promises none."""
        promised = {"sha256": self.sha256, "md5": self.md5, "git": self.git_sha1}
        return next((f"{name} {value}" for name, value in promised.items() if value), "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a model."""

    source: Source
    revision: str
    """The hub's commit hash; of local files the pinned one, or ""."""
    files: tuple[ManifestFile, ...]
    licence: str = ""
    left: tuple[str, ...] = ()
    """Names of pickles and programs that lie beside the files in a local folder and are not installed."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def left_sentence(self) -> str:
        """A sentence about `left`, "" where there are none."""
        more = f" and {len(self.left) - 4} more" if len(self.left) > 4 else ""
        names = ", ".join(self.left[:4])
        return f"Not installed, because they may run programs: {names}{more}." if self.left else ""


class ModelSource(Protocol):
    def manifest(self, model: InferenceModel) -> Manifest:
        """Return the files that a pull would install. Raises ModelUnavailable and ModelRefused."""
        ...

    def fetch(self, repo: str, revision: str, file: ManifestFile, target: Path, on_bytes: OnBytes) -> None:
        """Write one file to `target`, resuming after the bytes that it already has. Raises ModelUnavailable."""
        ...


class LocalSource:
    """A folder, a `.safetensors` checkpoint or adapter, or an `.onnx` network of this machine.

    A pickle with the weights of a network that is one file is written as `.safetensors` first.

    config: for a checkpoint, whose file lacks text encoder and scheduler settings: the slug of an installed model whose
    configuration is copied, a folder in diffusers' layout, with or without weights, or a name in
    `catalog.configurations`. "" is the published configuration for weights of its shape, or that of an installed model.
    For a file of one component: the slug of an installed model, or a folder, whose other components are copied.
    parts: files of components that such a file lacks, in place of those of `config`; for a file of an IP-Adapter the
    one of its image encoder; for a model that takes an inpaint patch the two files of it.
    is_linked: whether the files get a second name in the folder of models, in place of a copy.
    """

    def __init__(self, path: Path, *, config: str = "", parts: Sequence[Path] = (), is_linked: bool = False) -> None:
        self.path = path
        self.config = config
        self.parts = parts
        self.is_linked = is_linked
        self._configuration: Path | None = None
        self._file: ComponentFile | None = None
        self._parts: Path | None = None
        self._weights: dict[str, Path | TensorSlice] = {}
        self._patch: Path | None = None
        self._has_installed_parts = False

    def manifest(self, model: InferenceModel) -> Manifest:
        if not self.path.exists():
            raise ModelUnavailable(sentence("There is no folder and no file {file}.", file=self.path))
        is_checkpoint = model.kind == Kind.CHECKPOINT
        layout = families.get(model.family).layout
        is_network = is_checkpoint and isinstance(layout, OnnxLayout | WeightsLayout)
        if is_checkpoint and isinstance(layout, WeightsLayout) and self.path.suffix.lower() in PICKLES:
            written = self._temporary_folder() / f"{self.path.stem}{WEIGHTS}"
            write_weights(self.path, written)
            self.path = written
        is_component = is_checkpoint and bool(families.get(model.family).component_file)
        is_adapter_file = model.kind == Kind.IP_ADAPTER and self.path.is_file()
        if self.parts and is_checkpoint and families.get(model.family).takes_inpaint_patch:
            self._patch = self._temporary_folder() / "patch"
            unpickle(self.parts, self._patch)
        elif self.parts and not is_adapter_file and (not is_component or self.path.is_dir()):
            raise ModelRefused(
                sentence(
                    "--part is for a {labels} in one file, which lacks those parts, for an IP-Adapter in one file, "
                    "which lacks its image encoder, and for the inpaint patch of {models}.",
                    labels=component_labels(),
                    models=patched_models(),
                )
            )
        if self.path.is_dir():
            present = names_in(self.path, is_cached=True)
            names = self._names_in_folder(model, present)
            if not is_network:
                if is_checkpoint:
                    check_model(self.path, model.family, names)
                manifest = self._manifest(model, Source.FOLDER, names)
                return replace(manifest, left=tuple(unsafe_names(sorted(set(present) - set(names)))))
            self.path = self.path / names[0]
        kind = Kind(model.kind)
        if is_component:
            return self._component_manifest(model)
        if is_adapter_file:
            return self._ip_adapter_manifest(model)
        if kind in (Kind.VAE, Kind.CONTROLNET):
            folder = self._temporary_folder()
            configuration = single_file_configuration(self.path, model.family, kind)
            (folder / CONFIG).write_text(json.dumps(configuration, indent=2))
            self._configuration = folder
            return self._manifest(model, Source.FOLDER, [CONFIG, single_file_name(self.path, configuration)])
        check_installable(self.path, model)
        names = [self.path.name]
        if is_checkpoint and not is_network:
            self._configuration = self._sampled_as_trained(self._find_configuration(model), model.family)
            names += [f"{CONFIGURATION}/{name}" for name in configuration_files(self._configuration, model.family)]
        return self._manifest(model, Source.FILE, names)

    def _ip_adapter_manifest(self, model: InferenceModel) -> Manifest:
        """The files of an IP-Adapter and of its image encoder, which is a file elsewhere. Raises ModelRefused."""
        check_ip_adapter_header(self.path, model.family)
        encoder = image_encoders.encoder_file(self.path, self.parts)
        self._configuration = folder = self._temporary_folder()
        (folder / IMAGE_ENCODER).mkdir()
        text = json.dumps(image_encoders.configuration(encoder), indent=2)
        (folder / IMAGE_ENCODER / CONFIG).write_text(text)
        self._weights = {
            self.path.name: self.path,
            f"{IMAGE_ENCODER}{WHOLE_WEIGHTS}": image_encoders.weights(encoder),
        }
        return self._manifest(model, Source.FOLDER, [*names_in(folder), *self._weights])

    def _component_manifest(self, model: InferenceModel) -> Manifest:
        """The files of a component with the others that it lacks. Raises ModelRefused and ModelUnavailable."""
        check_single_file(self.path, may_be_gguf=True)
        self._file = file = read_component_file(self.path, model.family)
        file.check(model.family)
        self._weights = file.weights(file.files_by_component(self.parts))
        names: list[str] = []
        if absent := file.absent_components(self._weights):
            self._parts = self._find_parts(model, file, absent)
            names = file.files_among(names_in(self._parts, is_cached=True), model.variant, model.family, absent)
        self._configuration = folder = self._temporary_folder()
        file.write_configurations(folder, self._weights, model.family)
        return self._manifest(model, Source.FOLDER, [*names_in(folder), *self._weights, *names])

    def _find_parts(self, model: InferenceModel, file: ComponentFile, absent: Collection[str]) -> Path:
        """Return the folder with what a component lacks. Raises ModelRefused, ModelUnavailable."""
        if self.config:
            named = self._named_configuration()
            file.check_folder(named, absent)
            self._has_installed_parts = InferenceModel.objects.filter(slug=self.config).exists()
            return named
        sharing = families_of_component_file(type(file))
        for folder in map(installed_configuration, InferenceModel.objects.filter(family__in=sharing)):
            if folder is not None and folder.is_dir():
                try:
                    file.check_folder(folder, absent)
                except ModelRefused:
                    continue
                self._has_installed_parts = True
                return folder
        reason = sentence(
            "{file} is the {component} alone, without {absent}: add --config FOLDER.",
            file=self.path.name,
            component=file.component,
            absent=", ".join(absent),
        )
        raise ModelUnavailable(paragraph([reason, file.hint]))

    def _names_in_folder(self, model: InferenceModel, present: list[str]) -> list[str]:
        """Return the model's files in a folder that may hold others too. Of a pipeline or adapter the safe ones are
        enough."""
        if model.kind != Kind.CHECKPOINT:
            names = adapter_files(present, Kind(model.kind), model.family, model.variant)
        else:
            names = model_files(present, model.family, model.variant, partial(json_in, self.path / INDEX))
        is_strict = model.kind == Kind.CHECKPOINT and not isinstance(families.get(model.family).layout, DiffusersLayout)
        check_names(present if is_strict else names)
        return names

    def _manifest(self, model: InferenceModel, source: Source, names: list[str]) -> Manifest:
        if self._patch is not None:
            if is_trained_to_fill(self.path):
                raise ModelRefused(
                    sentence(
                        "{file} is an inpainting model already, for which the patch is not made.", file=self.path.name
                    )
                )
            names = [*names, PATCH]
        origins = ((name, self._origin(name)) for name in names)
        files = tuple(
            ManifestFile(name, origin.stat().st_size if isinstance(origin, Path) else origin.size)
            for name, origin in origins
        )
        return Manifest(source, model.revision, files)

    def _find_configuration(self, model: InferenceModel) -> Path:
        """Return the folder that configures the checkpoint. Raises ModelUnavailable with the command that helps."""
        header = read_header(self.path)
        if self.config:
            named = self._named_configuration()
            if not can_configure(named, header):
                raise ModelUnavailable(
                    sentence("The configuration of {config} is that of another kind of model.", config=self.config)
                )
            return named
        own = configuration_folder(self.path)
        if own.is_dir() and can_configure(own, header):
            return own
        if name := usual_configuration(header, model.family):
            return self._published_configuration(name)
        for folder in map(installed_configuration, InferenceModel.objects.filter(family=model.family)):
            if folder is not None and folder.is_dir() and can_configure(folder, header):
                return folder
        raise ModelUnavailable(
            sentence(
                "{file} holds only weights, of no published shape, and no installed model has a "
                "configuration that fits. Name a folder in diffusers' layout, weights or not, with "
                "--config.",
                file=self.path.name,
            )
        )

    def _sampled_as_trained(self, folder: Path, family: str) -> Path:
        """Return the configuration with timesteps spaced as a few-step checkpoint needs it; others unchanged."""
        named = few_step_checkpoint(self.path, family)
        if named is None or not named.is_trailing:
            return folder
        copied = self._temporary_folder()
        for name in configuration_files(folder, family):
            (copied / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, copied / name)
        path = copied / "scheduler" / SCHEDULER_CONFIG
        path.write_text(json.dumps({**json_in(path), "timestep_spacing": "trailing"}, indent=2))
        return copied

    def _named_configuration(self) -> Path:
        other = InferenceModel.objects.filter(slug=self.config).first()
        named = Path(self.config).expanduser() if other is None else installed_configuration(other)
        if self.config in configurations.NAMES and (named is None or not named.is_dir()):
            return self._published_configuration(self.config)
        if named is None:
            raise ModelUnavailable(
                sentence("{config} is not installed; “python manage.py pull_model {config}”.", config=self.config)
            )
        if not named.is_dir():
            known = ", ".join(configurations.NAMES)
            raise ModelUnavailable(
                sentence(
                    "--config names an installed model, a folder or one of {known}; “{config}” is neither.",
                    known=known,
                    config=self.config,
                )
            )
        return named

    def _published_configuration(self, name: str) -> Path:
        folder = self._temporary_folder()
        configurations.write_configuration(name, folder)
        return folder

    def _temporary_folder(self) -> Path:
        """Return a new folder that is removed together with this object."""
        folder = Path(mkdtemp(prefix="dreamlayer-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def fetch(self, repo: str, revision: str, file: ManifestFile, target: Path, on_bytes: OnBytes) -> None:
        origin, may_link = self._origin(file.name), self.is_linked or self._is_installed_part(file.name)
        if isinstance(origin, Path) and may_link and link(origin, target):
            on_bytes(file.size)
            return
        with target.open("wb") as copy:
            for chunk in chunks_of(origin):
                copy.write(chunk)
                on_bytes(len(chunk))

    def _is_installed_part(self, name: str) -> bool:
        """Whether a file is already in the folder of models, where only whole folders are replaced."""
        others = () if self._file is None else self._file.others
        return self._has_installed_parts and name not in self._weights and name.partition("/")[0] in others

    def _origin(self, name: str) -> Path | TensorSlice:
        if name == PATCH and self._patch is not None:
            return self._patch
        if name in self._weights:
            return self._weights[name]
        if self._weights and self._configuration is not None:
            written = self._configuration / name
            return written if self._parts is None or written.is_file() else self._parts / name
        if self._configuration is not None and name.startswith(f"{CONFIGURATION}/"):
            return self._configuration / name.removeprefix(f"{CONFIGURATION}/")
        if self._configuration is not None and name == CONFIG:
            return self._configuration / CONFIG
        return self.path if self.path.is_file() else self.path / name


def chunks_of(origin: Path | TensorSlice) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    if isinstance(origin, TensorSlice):
        yield from origin.chunks()
        return
    with origin.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def link(origin: Path, target: Path) -> bool:
    """Make `target` a second name of a file, in place of a copy. False where the disk cannot."""
    try:
        target.unlink(missing_ok=True)
        os.link(origin.resolve(), target)
    except OSError:
        return False
    return True


def check_installable(path: Path, model: InferenceModel) -> None:
    """Check the files of a model or adapter before they are installed. Raises ModelRefused."""
    if model.kind == Kind.CHECKPOINT:
        check_model(path, model.family)
    else:
        check_adapter(path, model.family, Kind(model.kind))


def installed_configuration(model: InferenceModel) -> Path | None:
    """Return the folder of an installed model that can configure checkpoints; None where it is not installed."""
    weights = model.weights if model.is_installed else None
    if weights is None:
        return None
    return configuration_folder(weights) if weights.is_file() else weights
