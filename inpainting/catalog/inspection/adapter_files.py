"""VAEs, embeddings, ControlNets and IP-Adapters, checked before anything loads them.

By the rules for whole models: safetensors only, classes from a list, no code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection.embedding_files import check_embedding
from inpainting.catalog.inspection.files import (
    CONFIG,
    IMAGE_ENCODER,
    WEIGHTS,
    ModelRefused,
    check_names,
    check_single_file,
    files_in,
    json_in,
    only_file,
    quote,
)
from inpainting.catalog.inspection.formats.checkpoint_file import text_features
from inpainting.catalog.inspection.formats.diffusers_folder import (
    check_configuration,
    check_shards,
    is_text,
    is_variant,
)
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.specs import ADAPTER_LABELS, Kind
from inpainting.core.sentences import any_of, every, sentence
from inpainting.families.layouts import DiffusersLayout

USUAL_CHANNELS = 4
"""Of latents, where the configuration of a VAE does not tell (the defaults of diffusers' classes)."""
TINY_VAE = "AutoencoderTiny"
UNION = "ControlNetUnionModel"
UNION_TENSOR = "task_embedding"
DIFFUSERS_NAMES = {UNION} | {
    family.controlnet.class_name
    for family in families.registered_families()
    if family.controlnet and not family.controlnet.is_converted
}
"""ControlNets whose files all have the tensors' names of diffusers."""
FLOATS = {"F16", "BF16", "F32"}
"""The formats of numbers, in a ControlNet in one file for a transformer, that are read as they are."""
WHOLE_FILE = "diffusion_pytorch_model.safetensors"
VAES = frozenset({"AutoencoderKL", TINY_VAE})
UNET_CONTROLNETS = frozenset({"ControlNetModel", UNION})
CLASSES = {
    Kind.VAE: VAES,
    Kind.CONTROLNET: UNET_CONTROLNETS
    | {family.controlnet.class_name for family in families.registered_families() if family.controlnet},
}
"""Classes that the configuration of a VAE or ControlNet may name, of any family."""
SINGLE_FILES = {
    Kind.VAE: r"\A(first_stage_model\.)?decoder\.conv_in\.weight\Z",
    Kind.CONTROLNET: r"(input_hint_block\.0|controlnet_cond_embedding\.conv_in)\.weight\Z",
}
"""Adapters of one file -> a tensor that they hold, in the original layout and in that of diffusers."""
ENCODER_CLASS = "CLIPVisionModelWithProjection"
IP_ADAPTER_TENSORS = ("image_proj.", "ip_adapter.")
FACE_ID_TENSORS = ("image_proj.perceiver_resampler.proj_in.weight", "image_proj.proj.0.weight")
FULL_TENSOR = "image_proj.proj.3.weight"
"""Tensors by which diffusers tells FaceID's projections and those of a full adapter apart."""


def check_adapter(path: Path, family: str, kind: Kind) -> None:
    """Check the files of an adapter of that kind for models of that family. Raises ModelRefused."""
    if not path.exists():
        raise ModelRefused(sentence("There is no folder and no file {file}.", file=path.name))
    if kind is Kind.EMBEDDING:
        check_embedding(path, family)
    elif kind is Kind.IP_ADAPTER:
        check_ip_adapter(path, family)
    else:
        check_network(path, family, kind)


def check_network(folder: Path, family: str, kind: Kind) -> None:
    """Check a folder of one network in diffusers' layout: its configuration and its weights. Raises ModelRefused."""
    texts = check_texts(folder)
    configuration = texts.get(Path(CONFIG), {})
    class_name = configuration.get("_class_name")
    classes = classes_for(family, kind)
    if class_name not in classes:
        known = every(sorted(classes))
        raise ModelRefused(
            sentence(
                "{folder} names the class {class_name} in its {config}; known are {known}.",
                folder=folder.name,
                class_name=quote(class_name),
                config=CONFIG,
                known=known,
            )
        )
    if kind is Kind.VAE:
        check_vae(configuration, family)
    else:
        check_text_features(configuration, family)
    check_weights(path for path in files_in(folder) if path.parent == folder)
    check_shards(folder, [path.name for path in files_in(folder) if path.parent == folder])


def classes_for(family: str, kind: Kind) -> frozenset[str]:
    """Return the classes of VAEs or ControlNets for a family. Raises ModelRefused where it takes none."""
    known = families.get(family)
    if kind is Kind.VAE:
        return VAES
    if known.controlnet is not None:
        return frozenset({known.controlnet.class_name})
    if not known.text_features:
        raise ModelRefused(sentence("Models of the family {family} take no ControlNets.", family=family))
    return UNET_CONTROLNETS


def check_tiny_vae(folder: Path, family: str) -> None:
    """Check a VAE that is small enough for previews. Raises ModelRefused."""
    check_network(folder, family, Kind.VAE)
    if class_name_in(folder) != TINY_VAE:
        raise ModelRefused(
            sentence("{folder} holds no {config} of an {kind}.", folder=folder.name, config=CONFIG, kind=TINY_VAE)
        )


def check_vae(configuration: Mapping[str, Any], family: str) -> None:
    """Refuse latents of another shape or scale than the family's, as far as the configuration states them.

    Also any VAE for a family whose own are of another class than the known ones.
    """
    layout = families.get(family).layout
    own = layout.components.get("vae") if isinstance(layout, DiffusersLayout) else None
    if own is not None and not any(f"diffusers.{name}" in own.classes for name in VAES):
        raise ModelRefused(sentence("Models of the family {family} take no other VAE than their own.", family=family))
    expected, factor = families.get(family).latent_channels, configuration.get("scaling_factor")
    channels = configuration.get("latent_channels", USUAL_CHANNELS)
    if expected is not None and channels != expected:
        raise ModelRefused(
            sentence(
                "This VAE gives latents of {channels} channels, not {expected}.",
                channels=quote(channels),
                expected=expected,
            )
        )
    factors = {
        family.name: family.vae_scaling_factor
        for family in families.registered_families()
        if family.vae_scaling_factor is not None
    }
    matching = [name for name, usual in factors.items() if isinstance(factor, float) and abs(factor - usual) < 1e-6]
    if matching and family not in matching:
        raise ModelRefused(
            sentence(
                "This is a VAE for models of the family {other}, not {family}.", other=any_of(matching), family=family
            )
        )


def check_text_features(configuration: Mapping[str, Any], family: str) -> None:
    """Refuse a ControlNet that attends to text features of another family's width."""
    width = configuration.get("cross_attention_dim", 0)
    matching = [
        family.name
        for family in families.registered_families()
        if isinstance(width, int) and width in family.text_features
    ]
    if matching and family not in matching:
        raise ModelRefused(
            sentence(
                "This is a ControlNet for models of the family {other}, not {family}.", other=matching[0], family=family
            )
        )


def check_ip_adapter(folder: Path, family: str) -> None:
    """Check the one file of an IP-Adapter and the folder of its image encoder. Raises ModelRefused."""
    texts = check_texts(folder)
    adapter, encoder = ip_adapter_file(folder), image_encoder_folder(folder)
    header = read_header(adapter)
    check_ip_adapter_tensors(header, adapter.name)
    support = families.image_prompts_in(header)
    if support is None and families.get(family).image_prompts is not None:
        raise ModelRefused(
            sentence("{file} is no IP-Adapter for models of the family {family}.", file=adapter.name, family=family)
        )
    if support is not None and support.family != family:
        raise ModelRefused(
            sentence(
                "{file} is {label}, which is added for the family {other}.",
                file=adapter.name,
                label=support.label,
                other=support.family,
            )
        )
    encoder_class = ENCODER_CLASS if support is None else support.encoder_class
    configuration = texts.get(encoder.relative_to(folder) / CONFIG, {})
    if configuration.get("architectures") != [encoder_class]:
        raise ModelRefused(
            sentence(
                "{encoder_folder} holds no {config} of a {encoder_class}.",
                encoder_folder=IMAGE_ENCODER,
                config=CONFIG,
                encoder_class=encoder_class,
            )
        )
    check_weights(encoder.iterdir())
    check_shards(encoder, [path.name for path in encoder.iterdir()])


def check_ip_adapter_header(path: Path, family: str) -> None:
    """Check the file of an IP-Adapter for models of that family. Raises ModelRefused."""
    check_single_file(path)
    header = read_header(path)
    check_ip_adapter_tensors(header, path.name)
    seen = ip_adapter_family(header)
    if seen != family:
        raise ModelRefused(
            sentence(
                "{file} is an IP-Adapter for models of the family {other}, not {family}.",
                file=path.name,
                other=seen,
                family=family,
            )
        )


def is_ip_adapter(header: Mapping[str, Any]) -> bool:
    """Whether a file is an IP-Adapter of a UNet or of a transformer."""
    is_of_unet = bool(header) and all(name.startswith(IP_ADAPTER_TENSORS) for name in header)
    return is_of_unet or families.image_prompts_in(header) is not None


def check_ip_adapter_tensors(header: Mapping[str, Any], file: str) -> None:
    if families.image_prompts_in(header) is not None:
        return
    check_face_id(header, file)
    foreign = next((name for name in header if not name.startswith(IP_ADAPTER_TENSORS)), None)
    if foreign is not None:
        raise ModelRefused(sentence("{file} is no IP-Adapter: it holds {foreign}.", file=file, foreign=quote(foreign)))


def ip_adapter_family(header: Mapping[str, Any]) -> str:
    """Return the family that an IP-Adapter is for: that of its tensors' names, or whose text features its layers take.

    Raises ModelRefused for none.
    """
    if (support := families.image_prompts_in(header)) is not None:
        return support.family
    width = next((tensor["shape"][-1] for name, tensor in header.items() if name.endswith("to_k_ip.weight")), 0)
    matching = [family.name for family in families.registered_families() if width in family.text_features]
    if len(matching) != 1:
        raise ModelRefused(
            sentence("It is an IP-Adapter for text features of {width}, which no family has.", width=width)
        )
    return matching[0]


def check_face_id(header: Mapping[str, Any], file: str) -> None:
    """Refuse an IP-Adapter that takes no image encoder's features. Raises ModelRefused."""
    if FULL_TENSOR not in header and any(name in header for name in FACE_ID_TENSORS):
        raise ModelRefused(
            sentence(
                "{file} is an IP-Adapter for the identity of a face (FaceID), which needs another "
                "network and is not supported.",
                file=file,
            )
        )


def check_texts(folder: Path) -> dict[Path, dict[str, Any]]:
    """Check the names and the JSON files of a folder. Return its JSON objects by path relative to the folder."""
    if not folder.is_dir():
        raise ModelRefused(sentence("{folder} is no folder.", folder=folder.name))
    files = [path.relative_to(folder) for path in files_in(folder)]
    check_names(path.as_posix() for path in files)
    texts = {path: json_in(folder / path) for path in files if path.suffix == ".json"}
    for path, configuration in texts.items():
        check_configuration(configuration, Path(path.name), {})
    return {path: value for path, value in texts.items() if isinstance(value, dict)}


def check_weights(paths: Iterable[Path]) -> None:
    """Check the headers of all safetensors files. Raises ModelRefused, also where there are none."""
    weights = [path for path in paths if path.suffix == WEIGHTS]
    if not weights:
        raise ModelRefused(sentence("There is no {suffix} file in it.", suffix=WEIGHTS))
    for path in weights:
        read_header(path)


def ip_adapter_file(folder: Path) -> Path:
    """Return the weights of an IP-Adapter. Raises ModelRefused unless there is exactly one file."""
    files = [path for path in files_in(folder) if path.suffix == WEIGHTS and path.parent.name != IMAGE_ENCODER]
    if len(files) != 1:
        raise ModelRefused(
            sentence(
                "An IP-Adapter is one {suffix} file beside its {encoder_folder}; there are {count}.",
                suffix=WEIGHTS,
                encoder_folder=IMAGE_ENCODER,
                count=len(files),
            )
        )
    return files[0]


def image_encoder_folder(folder: Path) -> Path:
    """Return the folder of an IP-Adapter's image encoder. Raises ModelRefused unless there is exactly one."""
    folders = {path.parent for path in files_in(folder) if path.parent.name == IMAGE_ENCODER}
    if len(folders) != 1:
        raise ModelRefused(
            sentence(
                "An IP-Adapter has one folder {encoder_folder}; there are {count}.",
                encoder_folder=IMAGE_ENCODER,
                count=len(folders),
            )
        )
    return folders.pop()


def single_file_configuration(path: Path, family: str, kind: Kind) -> dict[str, Any]:
    """Return the published configuration for a VAE or ControlNet of one file. Raises ModelRefused for another shape."""
    check_names([path.name])
    if path.suffix.lower() != WEIGHTS:
        raise ModelRefused(sentence("{file} is no {suffix} file.", file=path.name, suffix=WEIGHTS))
    header, known = read_header(path), families.get(family)
    if kind is Kind.CONTROLNET and known.controlnet is not None and known.controlnet.is_in(header):
        quantised = sorted({tensor["dtype"] for tensor in header.values() if len(tensor["shape"]) > 1} - FLOATS)
        if quantised:
            raise ModelRefused(
                sentence(
                    "{file} holds quantised weights ({types}): take it in 16 or 32 bits.",
                    file=path.name,
                    types=", ".join(quantised),
                )
            )
        return known.controlnet.load_configuration()(path, header)
    marks = [name for name in header if re.search(SINGLE_FILES[kind], name)]
    names = [known.vae_configuration] if kind is Kind.VAE else known.configurations.get(text_features(header) or 0, ())
    if not marks or not any(names):
        raise ModelRefused(
            sentence(
                "{file} is no {kind} of a published shape for the family {family}; one of another "
                "shape is added as a folder with its {config}.",
                file=path.name,
                kind=ADAPTER_LABELS[kind],
                family=family,
                config=CONFIG,
            )
        )
    if kind is Kind.VAE:
        shape = header[marks[0]]["shape"]
        check_vae({"latent_channels": shape[1]} if len(shape) == 4 else {}, family)
        return configurations.vae_configuration(names[0])
    configuration = configurations.controlnet_configuration(names[0])
    if UNION_TENSOR in header:
        (modes, *_) = header[UNION_TENSOR]["shape"] or [0]
        configuration |= {"_class_name": UNION, "num_control_type": modes}
    return configuration


def is_union(path: Path) -> bool:
    """Whether a folder or file of a ControlNet is a ControlNet-Union."""
    return class_name_in(path) == UNION if path.is_dir() else UNION_TENSOR in read_header(path)


def single_file_name(path: Path, configuration: Mapping[str, Any]) -> str:
    """Return the name of a VAE's or ControlNet's file beside its configuration.

    diffusers finds out the names of the tensors of other classes than these, whose files have its own names.
    """
    return WHOLE_FILE if configuration.get("_class_name") in DIFFUSERS_NAMES else path.name


def adapter_files(names: Iterable[str], kind: Kind, family: str, variant: str) -> list[str]:
    """Return the files of a repository or folder that are an adapter of that kind.

    variant: the preferred one of the weights; for an embedding and an IP-Adapter the name of its file without suffix.
    Raises ModelRefused where files are missing or it is not clear which are meant.
    """
    names = sorted(names)
    if kind is Kind.EMBEDDING:
        return [only_file(names, WEIGHTS, variant)]
    if kind is Kind.IP_ADAPTER:
        outside = [name for name in names if PurePosixPath(name).parent.name != IMAGE_ENCODER]
        adapter = only_file(outside, WEIGHTS, variant)
        return [adapter, *network_files(names, image_encoder_for(adapter, family, names), "")]
    return network_files(names, PurePosixPath("."), variant)


def image_encoder_for(adapter: str, family: str, names: Iterable[str]) -> PurePosixPath:
    """Return the folder of an adapter's image encoder: beside it, unless its name says that it shares another one."""
    folders = {PurePosixPath(name).parent for name in names if PurePosixPath(name).parent.name == IMAGE_ENCODER}
    beside = PurePosixPath(adapter).parent / IMAGE_ENCODER
    shared_mark = families.get(family).shared_image_encoder_mark
    if len(folders) > 1 and shared_mark and shared_mark in adapter:
        folders.discard(beside)
    if beside in folders:
        return beside
    if len(folders) != 1:
        raise ModelRefused(
            sentence(
                "An IP-Adapter has one folder {encoder_folder}; there are {count}.",
                encoder_folder=IMAGE_ENCODER,
                count=len(folders),
            )
        )
    return folders.pop()


def network_files(names: Iterable[str], folder: PurePosixPath, variant: str) -> list[str]:
    """Return a network's files in a folder: its texts, and weights of that variant, or else plain ones."""
    inside = [name for name in names if PurePosixPath(name).parent == folder]
    for suffix in (variant, ""):
        weights = [name for name in inside if is_variant(name, suffix)]
        if any(name.endswith(WEIGHTS) for name in weights):
            return [*(name for name in inside if name.endswith(".json") and is_text(name)), *weights]
    raise ModelRefused(sentence("There is no {suffix} file of a network in {folder}.", suffix=WEIGHTS, folder=folder))


def class_name_in(folder: Path) -> str:
    """Return the class that a network's configuration names; "" where it names none."""
    try:
        return str(json_in(folder / CONFIG).get("_class_name", ""))
    except (OSError, ModelRefused, AttributeError):
        return ""
