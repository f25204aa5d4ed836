"""Is this folder or file a model that may be loaded? Asked before anything reads it, and without loading anything.

Only safetensors and ONNX hold weights here: a pickle runs what its author wrote, so its mere presence is refused. The
classes that a model names are looked up in a list of ours, no configuration may bring code along, no link may lead out;
an ONNX graph is made of ONNX's own operators and holds all of its numbers itself.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from inpainting.catalog import families
from inpainting.catalog.families import DiffusersLayout, OnnxLayout, SafetyCheckerLayout
from inpainting.catalog.inspection import onnx_files
from inpainting.catalog.specs import check_slug
from inpainting.core.errors import EngineFailed

INDEX = "model_index.json"
CONFIG = "config.json"
"""Of one network: at the top of the folder of a part, and of a safety checker."""
WEIGHTS = ".safetensors"
ONNX = ".onnx"
MAX_ONNX_BYTES = 2**30
"""The largest that is published has 208 MB; protobuf itself ends at 2 GB."""
ONNX_DOMAINS = frozenset({"", "ai.onnx"})
"""Whose operators a graph may use: ONNX's own, by either name. Others run what somebody else has compiled."""
ONNX_SIDES = (64, 2048)
CONFIGURATION = "config"
"""Beside a checkpoint of one file: the folder of what its weights do not tell, in diffusers' layout without weights."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".h5")
IMAGE_ENCODER = "image_encoder"
"""The folder of the network that an IP-Adapter looks at pictures with."""
ADAPTER = "adapter_config.json"
"""Where transformers finds one, it puts the weights beside it on whatever it loads from there."""
CODE = (".py", ".so", ".sh", ".exe", ".dll")
TAKEN = (".json", ".txt", WEIGHTS)
"""What a model is made of; a pull and a copy take nothing else."""
MAX_HEADER_BYTES = 100_000_000
"""As in the safetensors library (`MAX_HEADER_SIZE`)."""
MAX_JSON_BYTES = 32 * 2**20
"""A fast tokenizer's file is the largest that is met: a few MB."""
TYPE_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}
"""Bits of one number, by the names of the format's description."""

IMAGE_PROCESSORS = frozenset(
    ("CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")
)
"""Classes that prepare images for a safety checker."""
PREPROCESSOR = "preprocessor_config.json"
CHECKER_CLASSES = frozenset({"StableDiffusionSafetyChecker", "SafetyChecker"})
"""One class by its name of today and by the one under which its weights were first published."""
CHECKER_TENSORS: dict[str, tuple[int | None, ...]] = {
    "concept_embeds": (17, None),
    "concept_embeds_weights": (17,),
    "special_care_embeds": (3, None),
    "special_care_embeds_weights": (3,),
    "visual_projection.weight": (None, None),
}
"""Shapes that the class has, None being any side."""
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"
PLAIN_CHANNELS, INPAINTING_CHANNELS = 4, 9
"""What a UNet is shown: the unfinished picture; or that, the mask and the picture around it."""


class ModelRefused(EngineFailed):
    """These files are not loaded, whatever they hold; the message says which one and why."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_refused")


def place_of(slug: str, root: Path) -> Path:
    """The folder of a model under the folder of all models.

    Raises InvalidRequest for a bad slug, ModelRefused where a link leads it out of there.
    """
    check_slug(slug)
    place = root / slug
    if not place.resolve().is_relative_to(root.resolve()):
        raise ModelRefused(f"The folder of {slug} lies outside the folder of models.")
    return place


def installed_weights(place: Path) -> Path | None:
    """The folder of a model or part in diffusers' layout, or the one file in it; None where nothing is."""
    if any((place / name).is_file() for name in (INDEX, CONFIG)) or any(place.glob(f"**/{IMAGE_ENCODER}/{CONFIG}")):
        return place
    files = sorted([*place.glob(f"*{WEIGHTS}"), *place.glob(f"*{ONNX}")])
    return files[0] if len(files) == 1 else None


def check_model(path: Path, family: str) -> None:
    """Check files of that family before anything reads them. Raises ModelRefused.

    A folder in diffusers' layout, one `.safetensors` checkpoint, one `.onnx` network or a safety checker's folder.
    """
    layout = families.get(family).layout
    if not path.exists():
        raise ModelRefused(f"There is no folder and no file {path.name}.")
    match layout:
        case OnnxLayout():
            check_onnx(path, family, layout)
        case SafetyCheckerLayout():
            check_safety_checker(path)
        case DiffusersLayout() if path.is_dir():
            check_folder(path, family)
        case DiffusersLayout():
            check_checkpoint(path, family)


def check_onnx(path: Path, family: str, layout: OnnxLayout) -> None:
    """One ONNX file that takes and gives what the published network of that family does. Raises ModelRefused."""
    check_names([path.name])
    if path.suffix.lower() != ONNX or not path.is_file():
        raise ModelRefused(f"{path.name} is no {ONNX} file; the family {family} is one such file.")
    check_onnx_size(path.name, path.stat().st_size)
    try:
        file = onnx_files.read(path)
    except ValueError as error:
        raise ModelRefused(f"{path.name} is no {ONNX} file, or it is damaged: {error}.") from error
    if file.is_external:
        raise ModelRefused(f"{path.name} wants numbers of another file; a network must hold them itself.")
    foreign = sorted(file.domains - ONNX_DOMAINS)
    if foreign or "function" in file.parts or "training" in file.parts:
        what = f"operators of {said(foreign[0])}" if foreign else "functions or training of its own"
        raise ModelRefused(f"{path.name} uses {what}; only ONNX's own operators are taken.")
    check_onnx_ends(path.name, file, family, layout)


def check_onnx_size(name: str, size: int) -> None:
    if size > MAX_ONNX_BYTES:
        raise ModelRefused(f"{name} is larger than {MAX_ONNX_BYTES // 2**20} MB.")


def check_onnx_ends(name: str, file: onnx_files.OnnxFile, family: str, layout: OnnxLayout) -> None:
    """image [1, 3, side, side] and mask [1, 1, side, side] go in, one picture comes out; any side may be free."""
    number, word = layout.element_type
    if set(file.inputs) != {"image", "mask"} or not file.outputs:
        names = ", ".join(sorted(file.inputs)) or "nothing"
        raise ModelRefused(f"{name} takes {said(names)}; the family {family} takes image and mask.")
    for value in (*file.inputs.values(), next(iter(file.outputs.values()))):
        if value.type != number:
            raise ModelRefused(
                f"{name} takes or gives something else than {word}, so it is not of the family {family}."
            )
    sides = set()
    for part, channels in (("image", 3), ("mask", 1)):
        shape = file.inputs[part].shape
        if len(shape) != 4 or shape[0] not in (None, 1) or shape[1] not in (None, channels):
            raise ModelRefused(f"{name} takes {part} in another shape than [1, {channels}, height, width].")
        sides |= set(shape[2:])
    if len(sides) > 1 or not all(side is None or ONNX_SIDES[0] <= side <= ONNX_SIDES[1] for side in sides):
        raise ModelRefused(f"{name} must take squares of {ONNX_SIDES[0]} to {ONNX_SIDES[1]} pixels, or any size.")


def wanted_onnx(names: Iterable[str], variant: str) -> str:
    """The file of a repository or folder that is meant. Raises ModelRefused where there is none, or no telling."""
    files = sorted(name for name in names if name.endswith(ONNX))
    named = [name for name in files if PurePosixPath(name).stem == variant] if variant else files
    if len(named) != 1:
        there = ", ".join(files[:4]) or "none"
        raise ModelRefused(f"One {ONNX} file is wanted, or the one that --variant names; there is {there}.")
    return named[0]


def check_checkpoint(path: Path, family: str) -> None:
    """One file in the original layout of Stable Diffusion, and its configuration where that lies beside it."""
    check_names([path.name])
    if path.suffix.lower() != WEIGHTS:
        raise ModelRefused(f"{path.name} is no {WEIGHTS} file.")
    if diffusers_layout(family).checkpoint_prefix is None:
        raise ModelRefused(
            f"{path.name} is one file; a model of the family {family} comes as a folder in diffusers' layout alone, "
            "for its text encoders are in no checkpoint of one file."
        )
    names = header_of(path)
    if not any(name.startswith("model.diffusion_model.") for name in names):
        raise ModelRefused(
            f"{path.name} is no Stable Diffusion checkpoint: no tensor is called model.diffusion_model.…"
        )
    check_family(family_of_checkpoint(names), family)
    channels = unet_channels(names)
    if channels not in (PLAIN_CHANNELS, INPAINTING_CHANNELS):
        raise ModelRefused(
            f"{path.name} takes {channels} channels; {PLAIN_CHANNELS} (plain) and {INPAINTING_CHANNELS} (inpainting) "
            "can be painted with."
        )
    if configuration_of(path).is_dir():
        check_folder_texts(configuration_of(path), family)


def family_of_checkpoint(names: Iterable[str]) -> str:
    """Return the family whose prefix tensor names of a checkpoint have; the longest prefix decides."""
    names = list(names)
    prefixes = {
        family.layout.checkpoint_prefix: family.name
        for family in families.registered()
        if isinstance(family.layout, DiffusersLayout) and family.layout.checkpoint_prefix is not None
    }
    found = (prefix for prefix in prefixes if any(name.startswith(prefix) for name in names))
    return prefixes[max(found, key=len)]


def diffusers_layout(family: str) -> DiffusersLayout:
    """Return the layout of a family of diffusion models."""
    layout = families.get(family).layout
    if not isinstance(layout, DiffusersLayout):
        raise ModelRefused(f"Models of the family {family} are no folders in diffusers' layout.")
    return layout


def configuration_of(checkpoint: Path) -> Path:
    """Where the configuration of a checkpoint of one file lies."""
    return checkpoint.with_name(CONFIGURATION)


def unet_channels(header: Mapping[str, Any]) -> int:
    """How many channels the UNet of a checkpoint takes; 0 where it has no first layer."""
    shape = header.get(FIRST_LAYER, {}).get("shape", [])
    return int(shape[1]) if len(shape) == 4 else 0


def text_features(header: Mapping[str, Any]) -> int | None:
    """The width of what the UNet of a checkpoint hears: 768 in Stable Diffusion 1, 1024 in 2, 2048 in SDXL."""
    shapes = (tensor["shape"] for name, tensor in header.items() if name.endswith(".attn2.to_k.weight"))
    return next((int(shape[-1]) for shape in shapes if shape), None)


def fits(header: Mapping[str, Any], folder: Path) -> bool:
    """Whether the configuration in a folder may be that of a checkpoint: their UNets hear texts of the same width."""
    wanted = text_features(header)
    try:
        said_there = json_object((folder / "unet" / "config.json").read_bytes(), "config.json")
    except OSError:
        return False
    return wanted is None or said_there.get("cross_attention_dim") == wanted


def configuration_files(folder: Path, family: str) -> list[str]:
    """The files of a folder in diffusers' layout that a checkpoint of one file needs beside its weights.

    The folder may hold weights or not. Raises ModelRefused where it is no such folder.
    """
    components = check_folder_texts(folder, family)
    wanted = [
        f"{component}/{name}"
        for component in components
        for name in sorted(path.name for path in (folder / component).glob("*"))
        if name.endswith((".json", ".txt")) and f"{WEIGHTS}.index" not in name
    ]
    return [INDEX, *wanted]


def check_folder(folder: Path, family: str) -> None:
    components, known = check_folder_texts(folder, family), diffusers_layout(family).components
    for component in components:
        if not known[component].has_weights:
            continue
        if not (folder / component / CONFIG).is_file():
            raise ModelRefused(f"{component} holds no {CONFIG}.")
        if not list((folder / component).glob(f"*{WEIGHTS}")):
            raise ModelRefused(f"{component} holds no {WEIGHTS} file.")
    for path in files_in(folder):
        if path.suffix == WEIGHTS:
            header_of(path)


def check_folder_texts(folder: Path, family: str) -> dict[str, str]:
    """All of a folder in diffusers' layout but its weights. Returns the classes of its parts."""
    files = [path.relative_to(folder) for path in files_in(folder)]
    check_names(path.as_posix() for path in files)
    if Path(INDEX) not in files:
        raise ModelRefused(f"{folder.name} holds no {INDEX}, so it is no model in diffusers' layout.")
    components = check_index(json_object((folder / INDEX).read_bytes(), INDEX), family)
    for path in files:
        if path.suffix == ".json":
            check_configuration(json_in(folder / path), path, components)
    return components


def check_safety_checker(folder: Path) -> None:
    """A folder with one StableDiffusionSafetyChecker and how pictures are prepared for it. Raises ModelRefused."""
    files = [path.relative_to(folder).as_posix() for path in files_in(folder)]
    check_names([*files, folder.name])
    wanted = wanted_checker_files(files, flavour_in(files))
    for name in wanted:
        if name.endswith(".json"):
            check_configuration(json_in(folder / name), Path(name), {})
    configuration = json_object((folder / CONFIG).read_bytes(), CONFIG)
    classes = configuration.get("architectures")
    if not isinstance(classes, list) or len(classes) != 1 or classes[0] not in CHECKER_CLASSES:
        raise ModelRefused(f"{CONFIG} names {said(classes)}, not the class of a safety checker.")
    preparation = json_object((folder / PREPROCESSOR).read_bytes(), PREPROCESSOR)
    kind = preparation.get("image_processor_type", preparation.get("feature_extractor_type"))
    if kind not in IMAGE_PROCESSORS:
        raise ModelRefused(f"{PREPROCESSOR} names the class {said(kind)}, which is not on the list of known classes.")
    weights = wanted[-1]
    header = header_of(folder / weights)
    for name, shape in CHECKER_TENSORS.items():
        seen = header.get(name, {}).get("shape", [])
        if len(seen) != len(shape) or any(side not in (None, there) for side, there in zip(shape, seen, strict=True)):
            raise ModelRefused(f"{weights} is no safety checker: {name} is missing or has another shape.")


def wanted_checker_files(names: Iterable[str], variant: str) -> list[str]:
    """The files of a repository that are a safety checker, its weights last. Raises ModelRefused where one is missing.

    Weights of the wanted variant, or else plain ones.
    """
    names = set(names)
    named = f"model.{variant}{WEIGHTS}"
    weights = named if variant and named in names else f"model{WEIGHTS}"
    wanted = [CONFIG, PREPROCESSOR, weights]
    missing = [name for name in wanted if name not in names]
    if missing:
        there = ", ".join(sorted(names)[:6]) or "nothing"
        raise ModelRefused(f"A safety checker is {', '.join(wanted)}; {missing[0]} is missing. There is {there}.")
    return wanted


def flavour_in(names: Iterable[str]) -> str:
    """The variant of the weights in a checker's own folder; "" for plain ones, which come first."""
    found = [name for name in names if re.fullmatch(r"model\.[\w-]+\.safetensors", name)]
    return found[0].split(".")[1] if found and f"model{WEIGHTS}" not in names else ""


def files_in(folder: Path) -> Iterator[Path]:
    """Every file below a folder. Raises ModelRefused at a link that leads out of it."""
    home = folder.resolve()
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place, name)
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise ModelRefused(f"{path.relative_to(folder)} is a link that leads out of the folder.")
        yield from (Path(place, name) for name in sorted(names))


def check_names(names: Iterable[str]) -> None:
    """Refuse pickles, programs and adapters by name; one pickle beside good files is enough."""
    for name in names:
        ending = PurePosixPath(name).suffix.lower()
        if PurePosixPath(name).name.lower() == ADAPTER:
            raise ModelRefused(f"{name} would put an adapter on what lies beside it; a model may bring none.")
        if ending in PICKLES:
            raise ModelRefused(f"{name} may hold a pickle, which can run any program; only {WEIGHTS} files are taken.")
        if ending in CODE:
            raise ModelRefused(f"{name} is a program; a model may bring none.")


def check_index(index: Mapping[str, Any], family: str) -> dict[str, str]:
    """The classes that a model_index.json names, by component. Raises ModelRefused for any that is not on our list."""
    pipeline = index.get("_class_name")
    pipelines = {
        name: known.name
        for known in families.registered()
        if isinstance(known.layout, DiffusersLayout)
        for name in known.layout.pipelines
    }
    if not isinstance(pipeline, str) or pipeline not in pipelines:
        raise ModelRefused(f"{INDEX} names the pipeline {said(pipeline)}; known are {', '.join(pipelines)}.")
    check_family(pipelines[pipeline], family)
    known_components = diffusers_layout(family).components
    components: dict[str, str] = {}
    for name, value in index.items():
        if not isinstance(value, list | dict):
            continue  # a version, a switch: text, numbers and truths name no class
        if value == [None, None]:
            continue
        pair = tuple(value) if isinstance(value, list) else ()
        if name not in known_components or pair not in known_components[name].pairs:
            raise ModelRefused(
                f"{INDEX} wants {said(value)} as {name[:60]}, which is not on the list of known classes."
            )
        components[name] = str(pair[1])
    missing = [name for name, one in known_components.items() if one.is_required and name not in components]
    if missing:
        raise ModelRefused(f"{INDEX} names no {' and no '.join(missing)}.")
    return components


def check_family(seen: str, wanted: str) -> None:
    if seen != wanted:
        raise ModelRefused(f"This is a model of the family {seen}, not {wanted}.")


def check_configuration(configuration: object, path: Path, components: Mapping[str, str]) -> None:
    """No code by reference, no other class than the index says, no shard that lies elsewhere."""
    if not isinstance(configuration, dict):
        return
    for word in ("auto_map", "custom_pipelines", "trust_remote_code"):
        if word in configuration:
            raise ModelRefused(f"{path.as_posix()} brings code along ({word}); a model may bring none.")
    component, declared = path.parent.as_posix(), configuration.get("_class_name")
    if path.parent != Path(".") and declared is not None and declared != components.get(component):
        raise ModelRefused(f"{path.as_posix()} names the class {said(declared)}, {INDEX} another.")
    shards = configuration.get("weight_map")
    if isinstance(shards, dict):
        for shard in set(map(str, shards.values())):
            if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
                raise ModelRefused(f"{path.as_posix()} wants the file {said(shard)}.")


def json_in(path: Path) -> Any:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelRefused(f"{path.name} is larger than {MAX_JSON_BYTES // 2**20} MB.")
    return parsed(path.read_bytes(), path.name)


def json_object(data: bytes, name: str) -> dict[str, Any]:
    value = parsed(data, name)
    if not isinstance(value, dict):
        raise ModelRefused(f"{name} holds no object.")
    return value


def parsed(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{name} is not JSON.") from error


def header_of(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name, without reading them. Raises ModelRefused unless all is sound.

    The format (github.com/huggingface/safetensors, README, "Format"): 8 bytes, little-endian: the header's length; the
    header, an object of name -> dtype, shape, data_offsets; the numbers. Their spans must cover the rest of the file
    without hole or overlap, and each must be as long as its shape says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > min(MAX_HEADER_BYTES, size - 8):
            raise ModelRefused(f"{path.name} is no {WEIGHTS} file: its header does not fit.")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelRefused(f"{path.name} is no {WEIGHTS} file: its header is not JSON.") from error
    if not isinstance(header, dict):
        raise ModelRefused(f"{path.name} is no {WEIGHTS} file: its header is no object.")
    header.pop("__metadata__", None)
    at = 0
    for begin, end, name in sorted(spans_of(header, path.name)):
        if begin != at:
            raise ModelRefused(f"{path.name} is damaged: {said(name)} begins at byte {begin}, not at {at}.")
        at = end
    if at != size - 8 - length:
        raise ModelRefused(f"{path.name} is damaged: {size - 8 - length} bytes of numbers, its header tells of {at}.")
    return header


def spans_of(header: Mapping[str, Any], file: str) -> Iterator[tuple[int, int, str]]:
    for name, tensor in header.items():
        try:
            kind, shape, (begin, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
            numbers = [begin, end, *shape]
            if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
                raise ValueError(numbers)
            bits = TYPE_BITS[kind]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelRefused(f"{file} is damaged: {said(name)} is described wrongly.") from error
        if (end - begin) * 8 != math.prod(shape) * bits:
            raise ModelRefused(f"{file} is damaged: {said(name)} has not the length of its shape.")
        yield begin, end, name


def said(value: object) -> str:
    """What somebody else wrote, short enough for a sentence."""
    return f"“{str(value)[:80]}”"


def wanted_files(names: Iterable[str], index: Mapping[str, Any], variant: str, family: str) -> list[str]:
    """The files of a repository that its model_index.json needs: texts, and of the weights one flavour.

    A part without weights of the wanted variant comes with the plain ones. Raises ModelRefused where a part has none
    that are safetensors, and says what it has instead.
    """
    names = sorted(names)
    wanted = [INDEX]
    known = diffusers_layout(family).components
    for component in (name for name, value in index.items() if name in known and value != [None, None]):
        inside = [name for name in names if PurePosixPath(name).parent.as_posix() == component]
        weights = [name for name in inside if name.endswith(WEIGHTS)]
        if known[component].has_weights:
            there = {flavour for flavour in (variant, "") for name in weights if is_flavour(name, flavour)}
            if not there:
                others = [name for name in inside if PurePosixPath(name).suffix in PICKLES] or ["no weights at all"]
                raise ModelRefused(f"{component} comes without a {WEIGHTS} file; there is {', '.join(others[:4])}.")
            flavour = variant if variant in there else ""
            wanted += [name for name in inside if is_flavour(name, flavour)]
        wanted += [name for name in inside if name.endswith((".json", ".txt")) and f"{WEIGHTS}.index" not in name]
    return wanted


def is_flavour(name: str, flavour: str) -> bool:
    """Whether it is a file of weights, or the list of its parts, of that flavour, as diffusers and transformers write.

    `model.safetensors` has none; `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors` and
    `model.safetensors.index.fp16.json` have fp16.
    """
    file, middle = PurePosixPath(name).name, re.escape(f".{flavour}") if flavour else ""
    weights = rf"(diffusion_pytorch_model|model){middle}(-\d{{5}}-of-\d{{5}})?\.safetensors"
    return (
        re.fullmatch(rf"{weights}|(diffusion_pytorch_model|model)\.safetensors\.index{middle}\.json", file) is not None
    )
