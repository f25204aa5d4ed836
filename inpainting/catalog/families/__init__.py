"""Model families: one declaration each, in a module of its own in this package. No other module names a family.

A declaration is plain data, so every process knows every family without importing torch or onnxruntime. The code that
computes is named by its path and imported with the first model of the family (`ModelFamily.load_implementation`).
A family is added by one module here that calls `register`: modules of this package are found automatically.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from importlib import import_module
from typing import Any

from inpainting.core.settings_table import SCHEDULERS

MODERATION, SEGMENTATION, CAPTIONS, PREPROCESSING = "moderation", "segmentation", "captions", "preprocessing"
"""In place of an engine's name: the models are safety checkers, segmenters, captioners or preprocessors, which compute
control images. They paint nothing."""
TOOLS = frozenset({MODERATION, SEGMENTATION, CAPTIONS, PREPROCESSING})
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
"""Of tokenizers of BERT."""
ANY_NAME = ""
"""In place of the name of a network's only input."""
MAX_GUIDANCE_SCALE = 20.0
"""Highest `guidance_scale` of families that declare no other."""


@dataclass(frozen=True, slots=True)
class Component:
    """A component of a diffusers pipeline. classes: each "library.Class" that a model_index.json may name; the first is
    the one loaded.

    has_weights: whether its folder holds weights. is_loaded: whether the engine loads those weights; a component that
    only other pipelines use is left out.
    """

    classes: tuple[str, ...]
    _: KW_ONLY
    is_required: bool = True
    has_weights: bool = False
    is_loaded: bool = True

    @property
    def has_loaded_weights(self) -> bool:
        return self.has_weights and self.is_loaded

    @property
    def is_of_transformers(self) -> bool:
        return self.classes[0].startswith("transformers.")

    @property
    def pairs(self) -> frozenset[tuple[str, ...]]:
        """(library, class), as a model_index.json has them."""
        return frozenset(tuple(path.split(".", 1)) for path in self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class DiffusersLayout:
    """A folder with a model_index.json as diffusers saves pipelines, or one checkpoint file in the original layout.

    pipelines: names of the pipeline classes that a model_index.json may name. components: by their name in it.
    checkpoint_prefix: prefix of tensor names by which a checkpoint file is recognised as of this family; "" fits every
    checkpoint that no other family recognises. None: a checkpoint of the family is no whole model.
    checkpoint_component: the component that a file of the family is alone; "" where there are no such files.
    checkpoint_channels: its input channels.
    checkpoint_parts: prefix of the tensors that are the weights of a checkpoint -> the component that they are all of;
    "" for text encoders, whose tensors diffusers splits and joins.
    refusals: pattern of the names of tensors and classes -> why models with one are refused.
    """

    pipelines: tuple[str, ...]
    components: Mapping[str, Component]
    checkpoint_prefix: str | None = None
    checkpoint_component: str = ""
    checkpoint_channels: int = 0
    checkpoint_parts: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)

    def refusal(self, name: str) -> str:
        """Why models with a tensor or class of that name are refused; "" where they are not."""
        return next((reason for pattern, reason in self.refusals.items() if re.match(pattern, name)), "")


@dataclass(frozen=True, slots=True, eq=False)
class OnnxLayout:
    """One ONNX file. element_type: of inputs and output, by ONNX's number and by name. inputs: name -> channels.

    refusals: operator -> why networks with one are refused.
    """

    element_type: tuple[int, str]
    inputs: Mapping[str, int] = field(default_factory=lambda: {"image": 3, "mask": 1})
    refusals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFolderLayout:
    """A folder of several ONNX files. inputs: name of each file -> name of each input -> its shape, None where free.

    All of them are float32.
    """

    inputs: Mapping[str, Mapping[str, tuple[int | None, ...]]]


@dataclass(frozen=True, slots=True)
class TransformersLayout:
    """A folder with one model of transformers and its preprocessor.

    model_types: that its config.json may name. model_class: the class that loads it. more_files: taken where present.
    """

    model_types: tuple[str, ...]
    model_class: str
    more_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SafetyCheckerLayout:
    """A folder with one StableDiffusionSafetyChecker of transformers' layout and its image processor."""


@dataclass(frozen=True, slots=True)
class LoraSupport:
    """The parts of a family's pipelines that a LoRA may change.

    components: names of the pipeline's components. tensors: pattern that the beginning of each of its tensor names
    matches. own_tensors: pattern that only tensor names of this family's LoRAs contain. Families that share one object
    share their LoRAs.
    """

    components: tuple[str, ...]
    tensors: str
    own_tensors: str


@dataclass(frozen=True, slots=True)
class EmbeddingSupport:
    """Textual inversion files: the tensor for each text encoder, and the widths that its vectors may have.

    tensors: empty where the file holds one tensor of any name.
    """

    widths: tuple[frozenset[int], ...]
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelFamily:
    """A model architecture: how its models are built, checked, loaded and run. Whether a model was trained for
    inpainting is read from its weights.

    name: in the API, the catalog and commands. label: for people. engine: DIFFUSION, ERASE or one of
    TOOLS.
    implementation: "module:name" of the class or function that computes. pipeline_class: the class of diffusers that
    its files are loaded with; pipeline_arguments: passed to it, such as components that are not loaded.
    overflows_float16: its activations do not fit float16; bfloat16 is used instead.
    latent_patch: latent pixels along each side of one token, 1 where the network sees latent pixels.
    schedulers: names that its models can run. defaults: values of a model of which nothing else is known.
    ignored_settings: names of `PaintSettings` fields that change nothing. reads_prompt_weights: `(words:1.3)`.
    text_layer: the layer of the text encoder, counted from the end, whose output its networks were trained on.
    text_features: widths of text features that its networks attend to -> slug of a shipped model of that width.
    configurations: widths of text features -> names in `catalog.configurations` for a checkpoint of one file: of models
    that predict noise, and of those that predict velocity if there are any.
    latent_channels, vae_scaling_factor: of its VAEs; None where that is not checked. vae_configuration: name in
    `catalog.configurations` of the published one, for VAEs of one file; "" where there is none.
    preview_decoder: slug of the shipped tiny VAE, in the folder of all models.
    shared_image_encoder_mark: IP-Adapters with this in their name use the image encoder of another family's adapters in
    the same repository.
    computes: of preprocessors, the kind of control image, as in `specs.ControlImageKind`. needs: families of which it
    uses one installed model each.
    graph_scales: of ONNX files with dynamic sizes, whether the graph scales the image to the network's size and its
    result back; others get a square. is_chosen_by_auto: whether `auto` takes the engine where its model is the default.
    """

    name: str
    label: str
    engine: str
    layout: DiffusersLayout | OnnxLayout | OnnxFolderLayout | SafetyCheckerLayout | TransformersLayout
    implementation: str = ""
    pipeline_class: str = ""
    pipeline_arguments: Mapping[str, Any] = field(default_factory=dict)
    overflows_float16: bool = False
    latent_patch: int = 1
    schedulers: tuple[str, ...] = SCHEDULERS
    max_guidance_scale: float = MAX_GUIDANCE_SCALE
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ignored_settings: frozenset[str] = frozenset()
    reads_prompt_weights: bool = False
    text_layer: int = 1
    text_features: Mapping[int, str] = field(default_factory=dict)
    configurations: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    latent_channels: int | None = None
    vae_scaling_factor: float | None = None
    vae_configuration: str = ""
    lora: LoraSupport | None = None
    embedding: EmbeddingSupport | None = None
    preview_decoder: str = ""
    shared_image_encoder_mark: str = ""
    computes: str = ""
    needs: tuple[str, ...] = ()
    graph_scales: bool = False
    is_chosen_by_auto: bool = True

    @property
    def generates(self) -> bool:
        """Whether people may choose its models to paint with."""
        return self.engine not in TOOLS

    def clip_skip_of_layer(self, layer: int) -> int:
        """The setting `clip_skip`, which is 1 for `text_layer`, for a layer of the text encoder counted from its end.

        Other services count so; no layer after `text_layer` can be used.
        """
        return max(1, layer - self.text_layer + 1)

    def load_implementation(self) -> Any:
        """Import and return the class or function that computes with models of the family."""
        return pkgutil.resolve_name(self.implementation)


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
    """Return the family that LoRAs of a family's models are added for: the first of those that share them.

    Raises UnknownFamily.
    """
    lora = get(name).lora
    return name if lora is None else next(family.name for family in registered_families() if family.lora is lora)


def families_with_loras() -> list[str]:
    """Return the names of the families that LoRAs are added for."""
    return [
        family.name
        for family in registered_families()
        if family.lora is not None and lora_family(family.name) == family.name
    ]


for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
