"""LoRA files, checked before anything loads them; their numbers are checked once, when they are added.

A LoRA (Hu et al. 2021, arXiv 2106.09685) holds two small matrices for each layer that it changes, `down` and `up`;
`lora_layers` names what the other kinds hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.inspection.files import WEIGHTS, ModelRefused, check_names, quote
from inpainting.catalog.inspection.formats.safetensors_header import read_header, read_metadata
from inpainting.catalog.inspection.lora_layers import (
    Shape,
    are_complete,
    attention_widths,
    input_width,
    is_read_by_diffusers,
    layers_in,
    split_name,
)
from inpainting.core.sentences import Sentence, sentence
from inpainting.families.declaration import BASE_MODEL_KEYS

MAX_LORA_BYTES = 4 * 2**30
"""Published ones for large transformers take up to 1.7 GB, in float32."""
CHUNK_NUMBERS = 2**22
TYPES: dict[str, tuple[str, int]] = {
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F32": ("<u4", 0x7F800000),
}
"""Each type as unsigned integers, and the bits of its exponent: a number with all of them set is not finite
(IEEE 754)."""
OTHER_KINDS = {
    "bundle_emb": sentence("a LoRA with embeddings"),
    ".oft_": sentence("an OFT"),
    ".on_input": sentence("an IA3"),
    ".processor.qkv_lora": sentence("a LoRA in the names of XLabs, not in those of kohya-ss, ai-toolkit or diffusers"),
}
"""Parts of tensor names by which adapters are recognised that are not supported."""
CONFIGURATION = "lora_adapter_metadata"
"""The key of the header under which diffusers stores PEFT's configuration."""
HARMLESS = re.compile(
    r"(^|\.)(r|lora_alpha|rank_pattern|alpha_pattern|target_modules|exclude_modules|use_rslora|peft_type|task_type|use_dora"
    r"|init_lora_weights|lora_dropout|bias|inference_mode|fan_in_fan_out|megatron_core|peft_version"
    r"|base_model_name_or_path|qalora_group_size)\Z"
)
"""Keys that the configuration may set; all others must be empty, because some name programs."""


class LoraRefused(ModelRefused):
    """Raised for a LoRA file that must not be loaded; the message gives the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "lora_refused"


def too_large(name: str) -> LoraRefused:
    return LoraRefused(
        sentence("{name} is larger than {most} MB; no LoRA is.", name=name, most=MAX_LORA_BYTES // 2**20)
    )


def check_lora(path: Path, family: str) -> None:
    """Check one `.safetensors` file whose tensors all belong to a LoRA for that family. Raises LoraRefused."""
    try:
        check_names([path.name])
        if path.suffix.lower() != WEIGHTS:
            raise LoraRefused(sentence("{file} is no {suffix} file.", file=path.name, suffix=WEIGHTS))
        if not path.is_file():
            raise LoraRefused(sentence("There is no file {file}.", file=path.name))
        if path.stat().st_size > MAX_LORA_BYTES:
            raise too_large(path.name)
        header = read_header(path)
    except LoraRefused:
        raise
    except ModelRefused as error:
        raise LoraRefused(error.message) from error
    base_models = read_base_models(path)
    seen = detect_family(header, base_models)
    if other := other_model(layers_in(header), base_models, family):
        raise LoraRefused(
            sentence(
                "{file} is a LoRA for {other}, not for {label}.",
                file=path.name,
                other=other,
                label=families.get(family).label,
            )
        )
    support = families.get(family).lora
    if seen not in (None, family, support and support.taken_for):
        raise LoraRefused(
            sentence(
                "{file} is a LoRA for models of the family {other}, not {family}.",
                file=path.name,
                other=seen,
                family=family,
            )
        )
    check_tensors(header, path.name, family)
    check_configuration(path)
    not_read = "" if support is None else support.not_read
    if lora_configuration(path) is not None and not is_read_by_diffusers(header, not_read):
        raise LoraRefused(
            sentence("{file} has a configuration of PEFT, which is supported for plain LoRAs only.", file=path.name)
        )


def lora_file(names: Iterable[str], name: str) -> str:
    """Return the LoRA among a repository's files: the one of that name, or the only safetensors file for "".

    Raises LoraRefused where there is none or it is not clear which is meant.
    """
    files = sorted(name for name in names if name.endswith(WEIGHTS))
    matching = [file for file in files if name in ("", file)]
    if len(matching) != 1:
        found = ", ".join(files[:8]) or "none"
        raise LoraRefused(
            sentence(
                "Exactly one {suffix} file is needed, or the one named with --file; found: {found}.",
                suffix=WEIGHTS,
                found=found,
            )
        )
    return matching[0]


def unknown_type(tensor: Mapping[str, Any], name: str, file: str) -> Sentence:
    """Return why a tensor is refused whose type is none of TYPES."""
    return sentence(
        "{file} holds {type} numbers in {name}; known are {known}.",
        file=file,
        type=tensor["dtype"],
        name=quote(name),
        known=", ".join(TYPES),
    )


def check_tensors(header: Mapping[str, Any], file: str, family: str) -> None:
    """Refuse tensors that belong to no kind of LoRA, and those of a layer that do not fit together."""
    support = families.get(family).lora
    for name, tensor in header.items():
        for mark, kind in OTHER_KINDS.items():
            if mark in name:
                raise LoraRefused(sentence("{file} is {kind}, which is not supported.", file=file, kind=kind))
        if support is None or not re.match(support.tensors, name):
            raise LoraRefused(
                sentence(
                    "{file} is no LoRA for {label}: it holds {name}.",
                    file=file,
                    label=families.get(family).label,
                    name=quote(name),
                )
            )
        if tensor["dtype"] not in TYPES:
            raise LoraRefused(unknown_type(tensor, name, file))
        if split_name(name) is None:
            raise LoraRefused(sentence("{file} is no LoRA: it holds {name}.", file=file, name=quote(name)))
    layers = layers_in(header)
    if not layers:
        raise LoraRefused(sentence("{file} is no LoRA: it changes nothing.", file=file))
    for layer, shapes in sorted(layers.items()):
        if not are_complete(shapes):
            raise LoraRefused(
                sentence(
                    "{file} is damaged: the tensors of {layer} do not fit together.", file=file, layer=quote(layer)
                )
            )


def detect_family(header: Mapping[str, Any], base_models: Sequence[str] = ()) -> str | None:
    """Return the family that a LoRA's layers show, or else its metadata; None where it could be of several.

    Tensor names that one family alone has show it, or a width: of the text features that its layers attend to, or of a
    transformer's attention.
    Families with more components come first: their files hold the tensors of smaller ones too.
    base_models: as `read_base_models` returns them.
    """
    layers = layers_in(header)
    widths = {input_width(layers[name]) for name in layers if re.search(r"attn2[._](processor\.)?to_[kv]", name)}
    named = map(families.get, families.families_with_loras())
    supports = [
        (known, known.lora)
        for known in named
        if known.lora is not None and not other_model(layers, base_models, known.name)
    ]
    for known, support in sorted(supports, key=lambda family: -len(family[1].components)):
        is_as_wide = widths & known.text_features.keys() or attention_widths(layers) & support.own_widths
        if is_as_wide or any(re.search(support.own_tensors, name) for name in header):
            return known.name
    for base_model in base_models:
        for known, support in supports:
            is_named = support.base_models and re.search(support.base_models, base_model)
            if is_named and has_names_of(header, known.name):
                return known.name
    return None


def has_names_of(header: Mapping[str, Any], family: str) -> bool:
    """Whether a LoRA for models of the family may have tensors of these names."""
    support = families.get(family).lora
    return support is not None and all(re.match(support.tensors, name) for name in header)


def other_model(layers: Mapping[str, Mapping[str, Shape]], base_models: Sequence[str], family: str) -> str:
    """Return the name of another model that a LoRA with layers of this family's names is for; "" for none."""
    support = families.get(family).lora
    tell = None if support is None else support.load_other_model()
    return "" if tell is None else tell(layers, " ".join(base_models))


def read_base_models(path: Path) -> list[str]:
    """Return what the metadata of a LoRA's file says about the model that it was trained on, the surest first."""
    notes = read_metadata(path)
    return [notes[key].lower() for key in BASE_MODEL_KEYS if notes.get(key)]


def check_configuration(path: Path) -> None:
    """Refuse a PEFT configuration in the file that sets more than numbers and names of layers."""
    for name, value in (lora_configuration(path) or {}).items():
        if value and not HARMLESS.search(name):
            raise LoraRefused(
                sentence(
                    "{file} is configured with {name}; only plain LoRAs are supported.",
                    file=path.name,
                    name=quote(name),
                )
            )


def lora_configuration(path: Path) -> dict[str, Any] | None:
    """Return the PEFT configuration in a LoRA's file; None where it has none. Raises LoraRefused for a damaged one."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    notes = header.get("__metadata__") or {}
    text = notes.get(CONFIGURATION) if isinstance(notes, dict) else None
    if text is None:
        return None
    try:
        configuration = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise LoraRefused(sentence("{file} is damaged: its configuration is not JSON.", file=path.name)) from error
    if not isinstance(configuration, dict):
        raise LoraRefused(sentence("{file} is damaged: its configuration is no object.", file=path.name))
    return configuration


def check_finite(path: Path) -> None:
    """Read every number of a LoRA that passed `check_lora`. Raises LoraRefused for one that is not finite."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    for name, tensor in read_header(path).items():
        kind, exponent = TYPES[tensor["dtype"]]
        begin, end = tensor["data_offsets"]
        if begin == end:
            continue
        bits: NDArray[Any] = np.memmap(path, np.uint8, "r", offset=start + begin, shape=(end - begin,)).view(kind)
        for at in range(0, len(bits), CHUNK_NUMBERS):
            if bool(np.any((bits[at : at + CHUNK_NUMBERS] & exponent) == exponent)):
                raise LoraRefused(
                    sentence(
                        "{file} is damaged: {name} holds numbers that are not finite.", file=path.name, name=quote(name)
                    )
                )
