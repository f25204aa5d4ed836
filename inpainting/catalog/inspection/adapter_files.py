"""Is this a VAE, an embedding, a ControlNet or an IP-Adapter that may be loaded? Asked before anything reads it.

By the same rules as whole models (`model_files`): safetensors alone, classes from a list of ours, nothing that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from inpainting.catalog import families
from inpainting.catalog.inspection.embedding_files import check_embedding
from inpainting.catalog.inspection.model_files import (
    CONFIG,
    IMAGE_ENCODER,
    WEIGHTS,
    ModelRefused,
    check_configuration,
    check_names,
    files_in,
    header_of,
    is_flavour,
    json_in,
    said,
)
from inpainting.catalog.specs import Kind

TINY_VAE = "AutoencoderTiny"
CLASSES = {
    Kind.VAE: frozenset({"AutoencoderKL", TINY_VAE}),
    Kind.CONTROLNET: frozenset({"ControlNetModel"}),
}
"""What the configuration of a part in a folder may name as its class."""
ENCODER_CLASS = "CLIPVisionModelWithProjection"
ADAPTER_TENSORS = ("image_proj.", "ip_adapter.")


def check_part(path: Path, family: str, kind: Kind) -> None:
    """A part of that kind for models of that family. Raises ModelRefused otherwise."""
    if not path.exists():
        raise ModelRefused(f"There is no folder and no file {path.name}.")
    if kind is Kind.EMBEDDING:
        check_embedding(path, family)
    elif kind is Kind.IP_ADAPTER:
        check_ip_adapter(path)
    else:
        check_network(path, family, kind)


def check_network(folder: Path, family: str, kind: Kind) -> None:
    """A folder of one network in diffusers' layout: its configuration and its weights."""
    texts = checked_texts(folder)
    configuration = texts.get(Path(CONFIG), {})
    name = configuration.get("_class_name")
    if name not in CLASSES[kind]:
        known = " and ".join(sorted(CLASSES[kind]))
        raise ModelRefused(f"{folder.name} names the class {said(name)} in its {CONFIG}; known are {known}.")
    if kind is Kind.VAE:
        check_vae(configuration, family)
    width = configuration.get("cross_attention_dim", 0)
    fitting = [known.name for known in families.registered() if width in known.text_features]
    seen = family if family in fitting or not fitting else fitting[0]
    if kind is Kind.CONTROLNET and seen != family:
        raise ModelRefused(f"This is a ControlNet for models of the family {seen}, not {family}.")
    check_weights(path for path in files_in(folder) if path.parent == folder)


def check_tiny_vae(folder: Path, family: str) -> None:
    """A VAE small enough for previews. Raises ModelRefused otherwise."""
    check_network(folder, family, Kind.VAE)
    if class_of(folder) != TINY_VAE:
        raise ModelRefused(f"{folder.name} holds no {CONFIG} of an {TINY_VAE}.")


def check_vae(configuration: Mapping[str, Any], family: str) -> None:
    """Latents of the family's shape and scale, as far as the configuration says. Raises ModelRefused otherwise."""
    wanted, scale = families.get(family).latent_channels, configuration.get("scaling_factor")
    channels = configuration.get("latent_channels", wanted)
    if wanted is not None and channels != wanted:
        raise ModelRefused(f"This VAE gives latents of {said(channels)} channels, not {wanted}.")
    factors = {one.name: one.vae_scaling_factor for one in families.registered() if one.vae_scaling_factor is not None}
    fitting = [name for name, factor in factors.items() if isinstance(scale, float) and abs(scale - factor) < 1e-6]
    seen = family if family in fitting or not fitting else fitting[0]
    if seen != family:
        raise ModelRefused(f"This is a VAE for models of the family {seen}, not {family}.")


def check_ip_adapter(folder: Path) -> None:
    """One file of the adapter, and the folder of the encoder beside it or beside its own folder."""
    texts = checked_texts(folder)
    adapter, encoder = adapter_in(folder), encoder_in(folder)
    strange = next((name for name in header_of(adapter) if not name.startswith(ADAPTER_TENSORS)), None)
    if strange is not None:
        raise ModelRefused(f"{adapter.name} is no IP-Adapter: it holds {said(strange)}.")
    configuration = texts.get(encoder.relative_to(folder) / CONFIG, {})
    if configuration.get("architectures") != [ENCODER_CLASS]:
        raise ModelRefused(f"{IMAGE_ENCODER} holds no {CONFIG} of a {ENCODER_CLASS}.")
    check_weights(encoder.iterdir())


def checked_texts(folder: Path) -> dict[Path, dict[str, Any]]:
    """The JSON objects of a folder by name; its other names are looked at too."""
    if not folder.is_dir():
        raise ModelRefused(f"{folder.name} is no folder.")
    files = [path.relative_to(folder) for path in files_in(folder)]
    check_names(path.as_posix() for path in files)
    texts = {path: json_in(folder / path) for path in files if path.suffix == ".json"}
    for path, configuration in texts.items():
        check_configuration(configuration, Path(path.name), {})
    return {path: value for path, value in texts.items() if isinstance(value, dict)}


def check_weights(paths: Iterable[Path]) -> None:
    weights = [path for path in paths if path.suffix == WEIGHTS]
    if not weights:
        raise ModelRefused(f"There is no {WEIGHTS} file in it.")
    for path in weights:
        header_of(path)


def adapter_in(folder: Path) -> Path:
    """The file of an IP-Adapter. Raises ModelRefused unless there is one."""
    files = [path for path in files_in(folder) if path.suffix == WEIGHTS and path.parent.name != IMAGE_ENCODER]
    if len(files) != 1:
        raise ModelRefused(f"An IP-Adapter is one {WEIGHTS} file beside its {IMAGE_ENCODER}; there are {len(files)}.")
    return files[0]


def encoder_in(folder: Path) -> Path:
    """The folder of an IP-Adapter's encoder. Raises ModelRefused unless there is one."""
    folders = {path.parent for path in files_in(folder) if path.parent.name == IMAGE_ENCODER}
    if len(folders) != 1:
        raise ModelRefused(f"An IP-Adapter has one folder {IMAGE_ENCODER}; there are {len(folders)}.")
    return folders.pop()


def wanted_part(names: Iterable[str], kind: Kind, family: str, variant: str) -> list[str]:
    """The files of a repository or folder that are the part. Raises ModelRefused where there are none, or no telling.

    variant: the preferred flavour of the weights; for an embedding and an IP-Adapter the name of the file that is
    meant, without its ending.
    """
    names = sorted(names)
    if kind is Kind.EMBEDDING:
        return [the_one(names, variant)]
    if kind is Kind.IP_ADAPTER:
        adapter = the_one([name for name in names if PurePosixPath(name).parent.name != IMAGE_ENCODER], variant)
        encoder = encoder_for(adapter, family, names)
        return [adapter, *flat(names, encoder, "")]
    return flat(names, PurePosixPath("."), variant)


def the_one(names: Iterable[str], variant: str) -> str:
    files = [name for name in names if name.endswith(WEIGHTS)]
    named = [name for name in files if PurePosixPath(name).stem == variant] if variant else files
    if len(named) != 1:
        there = ", ".join(files[:4]) or "none"
        raise ModelRefused(f"One {WEIGHTS} file is wanted, or the one that --variant names; there is {there}.")
    return named[0]


def encoder_for(adapter: str, family: str, names: Iterable[str]) -> PurePosixPath:
    """Return the folder of an adapter's image encoder: beside it, unless its name says that it shares another one."""
    folders = {PurePosixPath(name).parent for name in names if PurePosixPath(name).parent.name == IMAGE_ENCODER}
    beside = PurePosixPath(adapter).parent / IMAGE_ENCODER
    shared_mark = families.get(family).shared_image_encoder_mark
    if len(folders) > 1 and shared_mark and shared_mark in adapter:
        folders.discard(beside)
    if beside in folders:
        return beside
    if len(folders) != 1:
        raise ModelRefused(f"An IP-Adapter has one folder {IMAGE_ENCODER}; there are {len(folders)}.")
    return folders.pop()


def flat(names: Iterable[str], folder: PurePosixPath, variant: str) -> list[str]:
    """A network's files in a folder: its texts, and of the weights one flavour."""
    inside = [name for name in names if PurePosixPath(name).parent == folder]
    for flavour in (variant, ""):
        weights = [name for name in inside if is_flavour(name, flavour)]
        if any(name.endswith(WEIGHTS) for name in weights):
            texts = [name for name in inside if name.endswith(".json") and f"{WEIGHTS}.index" not in name]
            return [*texts, *weights]
    raise ModelRefused(f"There is no {WEIGHTS} file of a network in {folder}.")


def class_of(folder: Path) -> str:
    """What a network in a folder says that it is; nothing where it does not say."""
    try:
        return str(json_in(folder / CONFIG).get("_class_name", ""))
    except (OSError, ModelRefused, AttributeError):
        return ""
