"""Files of models and adapters on the disk: where they lie, which names are refused, and the JSON in them.

Weights are safetensors or ONNX files. A pickle can run any code when it is loaded, so its mere presence is refused;
no link may lead out of a folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from inpainting import families
from inpainting.catalog.specs import check_slug
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import every, sentence

INDEX = "model_index.json"
"""The file at the top of a pipeline's folder."""
CONFIG = "config.json"
"""The file in the folder of one network: of an adapter, a safety checker or a pipeline's component."""
WEIGHTS = ".safetensors"
ONNX = ".onnx"
GGUF = ".gguf"
IMAGE_ENCODER = "image_encoder"
"""The folder of an IP-Adapter's image encoder."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".h5")
PROGRAMS = (".py", ".so", ".sh", ".exe", ".dll")
PEFT_CONFIG = "adapter_config.json"
"""transformers loads the weights beside such a file onto any model of the same folder."""
CHUNK_BYTES = 4 * 2**20
"""Bytes of a file of weights that are read at a time."""
MAX_JSON_BYTES = 32 * 2**20
"""The largest JSON files of published models are fast tokenizers of a few MB."""


class ModelRefused(EngineFailed):
    """Raised for files that must not be loaded; the message names the file and the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_refused")


def model_folder(slug: str, root: Path) -> Path:
    """Return the folder of a model below the folder of all models.

    Raises InvalidRequest for a bad slug, ModelRefused where a link leads elsewhere.
    """
    check_slug(slug)
    folder = root / slug
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ModelRefused(sentence("The folder of {slug} lies outside the folder of models.", slug=slug))
    return folder


def installed_weights(folder: Path) -> Path | None:
    """Return what is loaded of a model's folder: its only file, or else the folder itself.

    None where nothing is installed.
    """
    if any((folder / name).is_file() for name in (INDEX, CONFIG)) or any(folder.glob(f"**/{IMAGE_ENCODER}/{CONFIG}")):
        return folder
    networks = sorted(folder.glob(f"*{ONNX}"))
    if len(networks) > 1:
        return folder
    files = [*sorted(folder.glob(f"*{WEIGHTS}")), *networks]
    return files[0] if len(files) == 1 else None


def files_in(folder: Path, *, is_cached: bool = False) -> Iterator[Path]:
    """Yield every file below a folder. Raises ModelRefused at a link that leads out of it.

    is_cached: the folder may be a snapshot in huggingface_hub's cache, whose files are links to the blobs beside it.
    """
    homes = [folder.resolve()]
    if is_cached and homes[0].parent.name == "snapshots":
        homes.append(homes[0].parent.parent / "blobs")
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place, name)
            if path.is_symlink() and not any(path.resolve().is_relative_to(home) for home in homes):
                raise ModelRefused(
                    sentence("{path} is a link that leads out of the folder.", path=path.relative_to(folder))
                )
        yield from (Path(place, name) for name in sorted(names))


def names_in(folder: Path, *, is_cached: bool = False) -> list[str]:
    """Return the names of all files below a folder, relative to it. Raises ModelRefused as `files_in`."""
    return [path.relative_to(folder).as_posix() for path in files_in(folder, is_cached=is_cached)]


def unsafe_names(names: Iterable[str]) -> list[str]:
    """Return those of pickles and programs."""
    return [name for name in names if PurePosixPath(name).suffix.lower() in (*PICKLES, *PROGRAMS)]


def check_names(names: Iterable[str]) -> None:
    """Refuse pickles, programs and PEFT configurations; one of them beside good files is enough."""
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if PurePosixPath(name).name.lower() == PEFT_CONFIG:
            raise ModelRefused(
                sentence("{file} would load an adapter onto the model beside it; a model may bring none.", file=name)
            )
        if suffix in PICKLES:
            raise ModelRefused(
                sentence(
                    "{file} may hold a pickle, which can run any program; only {suffix} files are taken.",
                    file=name,
                    suffix=WEIGHTS,
                )
            )
        if suffix in PROGRAMS:
            raise ModelRefused(sentence("{file} is a program; a model may bring none.", file=name))


def check_single_file(path: Path, *, may_be_gguf: bool = False) -> None:
    """Refuse one file that is not safetensors, or GGUF where that is allowed, by its name. Raises ModelRefused."""
    check_names([path.name])
    if path.suffix.lower() == GGUF and not may_be_gguf:
        known = every(family.label for family in families.registered_families() if family.component_file)
        raise ModelRefused(
            sentence(
                "{file} holds quantised weights (GGUF), which are supported for transformers of "
                "{known} alone; add {suffix} files.",
                file=path.name,
                known=known,
                suffix=WEIGHTS,
            )
        )
    if path.suffix.lower() not in ((WEIGHTS, GGUF) if may_be_gguf else (WEIGHTS,)):
        raise ModelRefused(sentence("{file} is no {suffix} file.", file=path.name, suffix=WEIGHTS))


def json_in(path: Path) -> Any:
    """Return the value in a JSON file. Raises ModelRefused for a file that is too large or no JSON."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelRefused(sentence("{file} is larger than {most} MB.", file=path.name, most=MAX_JSON_BYTES // 2**20))
    return parse_json(path.read_bytes(), path.name)


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """Return the object in the bytes of a JSON file called `name`. Raises ModelRefused for any other value."""
    value = parse_json(data, name)
    if not isinstance(value, dict):
        raise ModelRefused(sentence("{file} holds no object.", file=name))
    return value


def parse_json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelRefused(sentence("{file} is not JSON.", file=name)) from error


def quote(value: object) -> str:
    """Return foreign text in quotation marks, cut to the length that a message can show."""
    return f"“{str(value)[:80]}”"


def shell(*words: str) -> str:
    """Return a command of manage.py as a person types it, with quotes where a shell needs them."""
    return f"“python manage.py {shlex.join(words)}”"


def slug_of(name: str) -> str:
    """Return a slug made of the name of a file or folder."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:60] or "model"


def only_file(names: Iterable[str], suffix: str, stem: str, option: str = "--variant") -> str:
    """Return the one name with that suffix, or the one of that stem where several are there.

    option: how a command names the file. Raises ModelRefused where none or several fit.
    """
    files = sorted(name for name in names if name.endswith(suffix))
    named = [name for name in files if PurePosixPath(name).stem == stem] if stem else files
    if len(named) != 1:
        found = ", ".join(files[:4]) or "none"
        raise ModelRefused(
            sentence(
                "Exactly one {suffix} file is needed, or the one named with {option}; found: {found}.",
                suffix=suffix,
                option=option,
                found=found,
            )
        )
    return named[0]
