"""Model families: one package or module each, found by its place in this folder.

A family of the diffusion engine is a package of these modules:

- `declaration` holds plain data and calls `register`.
- `network` computes. It alone imports torch.
- `files` tells what a file of the family is, where its layout alone does not.
- `lora_names` holds the names of its layers that LoRA files have besides those of diffusers.

The declaration names the others by their paths, and they are imported when they are needed, so no other module imports
them. A family whose models a segmenter, a captioner, a preprocessor or the erase engine computes with is a declaration
alone, and one module. `flux` and `super_resolution` register no family: they hold what the families of FLUX.1 and
those of transformers that enlarge share. `known_files` lists files of no family, so that they are named when they are
left.
`tests/test_architecture.py` lists the modules outside this folder that name a family.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module

from inpainting.families.declaration import ImagePromptSupport, ModelFamily


class UnknownFamily(LookupError):
    """No family of that name is registered."""


registry: dict[str, ModelFamily] = {}
"""Every known family by its name."""


def register(family: ModelFamily) -> ModelFamily:
    """Make a family known under its name. Raises ValueError where the name is taken."""
    if family.name in registry:
        raise ValueError(f"The model family {family.name} is registered already.")
    registry[family.name] = family
    return family


def get(name: str) -> ModelFamily:
    """Return the family of that name. Raises UnknownFamily."""
    try:
        return registry[name]
    except KeyError:
        raise UnknownFamily(f"There is no model family {name}.") from None


def registered_families() -> tuple[ModelFamily, ...]:
    """Return all families by name."""
    return tuple(registry[name] for name in sorted(registry))


def names(*, engine: str | None = None) -> list[str]:
    """Return the names of all families, or of those of one engine."""
    return [family.name for family in registered_families() if engine in (None, family.engine)]


def generating() -> list[str]:
    """Return the names of the families that people may choose models of."""
    return [family.name for family in registered_families() if family.generates]


def lora_family(name: str) -> str:
    """Return the family that LoRAs of a family's models are added for: one of those that share them.

    Raises UnknownFamily.
    """
    lora = get(name).lora
    return name if lora is None else lora.family or name


def families_with_loras() -> list[str]:
    """Return the names of the families that LoRAs are added for."""
    return [
        family.name
        for family in registered_families()
        if family.lora is not None and lora_family(family.name) == family.name
    ]


def image_prompt_family(name: str) -> str:
    """Return the family that IP-Adapters of a family's models are added for: one of those that share them.

    Raises UnknownFamily.
    """
    support = get(name).image_prompts
    return name if support is None else support.family


def image_prompts_in(tensors: Iterable[str]) -> ImagePromptSupport | None:
    """Return what a file with tensors of these names is an IP-Adapter of; None for one of a UNet, and other files."""
    names = frozenset(tensors)
    supports = (family.image_prompts for family in registered_families())
    return next((support for support in supports if support is not None and support.tensors == names), None)


for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}.declaration" if _module.ispkg else f"{__name__}.{_module.name}")
