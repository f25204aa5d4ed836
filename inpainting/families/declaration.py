"""The declaration of a model family: plain data, so every process knows every family without torch or onnxruntime."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inpainting.core.settings_table import SCHEDULERS
from inpainting.families.layouts import DiffusersLayout, Layout

MODERATION, SEGMENTATION, CAPTIONS, PREPROCESSING = "moderation", "segmentation", "captions", "preprocessing"
UPSCALING = "upscaling"
"""In place of an engine's name: the models are safety checkers, segmenters, captioners, preprocessors, which compute
control images, or upscalers. They paint nothing."""
TOOLS = frozenset({MODERATION, SEGMENTATION, CAPTIONS, PREPROCESSING, UPSCALING})
MAX_GUIDANCE_SCALE = 20.0
"""The highest `guidance_scale` of families that declare no other."""

BASE_MODEL_KEYS = ("ss_base_model_version", "modelspec.architecture", "ss_sd_model_name", "ss_network_module")
"""Keys of a LoRA's metadata under which trainers name the model that it was trained on, the surest first: kohya-ss and
those who write as it does, and ModelSpec (github.com/Stability-AI/ModelSpec)."""
OriginalName = Callable[[str, Any], tuple[str, int] | None]
"""Takes the path of a layer in diffusers and its network; see `LoraSupport.original_name`."""
OtherModel = Callable[[Mapping[str, Mapping[str, tuple[int, ...]]], str], str]
"""Takes the shapes of each layer's factors and the names of base models; see `LoraSupport.other_model`."""


@dataclass(frozen=True, slots=True)
class LoraSupport:
    """What a LoRA may change of a family's pipelines, and the names that it has there.

    Families that share one object share their LoRAs.
    """

    components: tuple[str, ...]
    """Names of the pipeline's components that a LoRA may change."""
    tensors: str
    """Pattern that the beginning of each tensor's name matches."""
    own_tensors: str
    """Pattern that only tensor names of this family's LoRAs contain."""
    own_widths: frozenset[int] = frozenset()
    """Inputs that attention layers of a transformer have in this family's models alone."""
    family: str = ""
    """The family that LoRAs are added for, where several share them; "" where one has them."""
    not_read: str = ""
    """Pattern of the beginnings of tensor names that diffusers' loader drops, besides those of every family."""
    original_name: str = ""
    """The function for the names of layers in the layout in which the network was published, as "module:name".

    It takes the path of a layer in diffusers and the network, and returns the name and which part of that layer's
    outputs it gives; None for a layer that has no other name. It is "" where trainers save diffusers' names alone.
    """
    base_models: str = ""
    """Pattern of the names of the family's models, in lower case, as trainers write them into a LoRA's metadata."""
    other_model: str = ""
    """The function that tells LoRAs of other models with layers of the same names apart, as "module:name".

    It takes the layers with the shapes of their factors, and the names of base models in the file's metadata, and
    returns the name of the other model, or "" for a LoRA that may be one of the family. It is "" where no other model
    has such names.
    """

    taken_for: str = ""
    """The family that a LoRA is taken for where neither its layers nor its metadata tell it from one of this family."""
    few_step_kinds: frozenset[str] = frozenset()
    """Kinds of LoRAs distilled to few steps (`catalog.specs.LoraKind`) of which some are published for its models."""

    def load_original_name(self) -> OriginalName | None:
        """Return the function that `original_name` names."""
        return pkgutil.resolve_name(self.original_name) if self.original_name else None

    def load_other_model(self) -> OtherModel | None:
        """Return the function that `other_model` names."""
        return pkgutil.resolve_name(self.other_model) if self.other_model else None


@dataclass(frozen=True, slots=True)
class ControlNetSupport:
    """ControlNets of a family whose network is a transformer."""

    class_name: str
    """Of diffusers."""
    tensors: tuple[str, ...]
    """Patterns of tensor names; a ControlNet in one file holds a tensor for each."""
    configuration: str
    """The function for the configuration of a ControlNet in one file, as "module:name".

    It takes the file and its header and returns the configuration for diffusers. Raises ModelRefused for another shape.
    """
    kinds: frozenset[str]
    """The kinds of control images, of `specs.ControlImageKind`, that its ControlNet-Unions were trained on."""

    network: str = ""
    """The class in place of that of diffusers, as "module:name"; "" for the one of diffusers."""
    is_converted: bool = False
    """Whether the class changes the tensors of a ControlNet in one file (`from_single_file`)."""

    def load_configuration(self) -> Callable[[Path, Mapping[str, Any]], dict[str, Any]]:
        """Return the function that `configuration` names."""
        found: Callable[[Path, Mapping[str, Any]], dict[str, Any]] = pkgutil.resolve_name(self.configuration)
        return found

    def is_in(self, names: Iterable[str]) -> bool:
        """Return whether a file with tensors of these names is one of the ControlNets."""
        names = list(names)
        return all(any(re.search(pattern, name) for name in names) for pattern in self.tensors)


@dataclass(frozen=True, slots=True)
class ImagePromptSupport:
    """IP-Adapters of families whose network is a transformer: they turn an image into tokens that follow the prompt's.

    Families that share one object share their IP-Adapters.
    """

    family: str
    """The family that they are added for."""
    label: str
    """For people."""
    tensors: frozenset[str]
    """Names of all tensors of an IP-Adapter's file."""
    encoder_class: str
    """The class of its image encoder, of transformers."""
    pipeline_class: str
    """The class of diffusers that a folder with an IP-Adapter and its image encoder names."""
    load: str
    """The function that loads one from its folder, as "module:name", as `ip_adapter.load` does those of a UNet."""

    def load_function(self) -> Callable[..., Any]:
        """Return the function that `load` names."""
        found: Callable[..., Any] = pkgutil.resolve_name(self.load)
        return found


@dataclass(frozen=True, slots=True)
class EmbeddingSupport:
    """Textual inversion files: the tensor for each text encoder, and the widths that its vectors may have."""

    widths: tuple[frozenset[int], ...]
    """The widths for each text encoder."""
    tensors: tuple[str, ...] = ()
    """The tensor's name for each text encoder; empty where the file holds one tensor of any name."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelFamily:
    """A model architecture: how its models are built, checked, loaded and run.

    Whether a model with a UNet was trained for inpainting is read from its weights.
    """

    name: str
    """In the API, the catalog and commands."""
    label: str
    """For people."""
    engine: str
    """The name of an engine, DIFFUSION or ERASE, or one of TOOLS."""
    layout: Layout
    """What its files look like."""
    implementation: str = ""
    """The class or function that computes, as "module:name". It is imported with the first model of the family."""

    # Of diffusion

    pipeline_class: str = ""
    """The class of diffusers that its files are loaded with."""
    pipeline_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for that class, such as components that are not loaded."""
    edits: bool = False
    """Whether its models take the source image beside the noisy one, so that a prompt is an instruction about it.

    The editor then asks for no mask: without one the whole image is repainted.
    """
    caches_blocks: bool = False
    """Whether its models read the setting `cache`: diffusers' hooks for it know the blocks of its transformer."""
    fills: bool = False
    """Whether all its models were trained to fill a mask. Of families with a UNet its weights tell."""
    max_reference_images: int = 0
    """Reference images that its models take beside the source image."""
    overflows_float16: bool = False
    """Whether its activations do not fit float16, so that bfloat16 is used instead."""
    latent_patch: int = 1
    """Latent pixels along each side of one token; 1 where the network sees latent pixels."""
    schedulers: tuple[str, ...] = SCHEDULERS
    """Names of the schedulers that its models can run."""
    max_guidance_scale: float = MAX_GUIDANCE_SCALE
    """The highest `guidance_scale` that a request may have."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of a model of which nothing else is known."""
    ignored_settings: frozenset[str] = frozenset()
    """Names of `PaintSettings` fields that change nothing."""
    guidance_input: str = ""
    """The value of a transformer's configuration that is false where it takes no guidance scale as an input; "" where
    guidance is no input."""
    reads_prompt_weights: bool = False
    """Whether `(words:1.3)` in a prompt has an effect."""
    text_layer: int = 1
    """The layer of the text encoder, counted from the end, whose output its networks were trained on."""
    text_features: Mapping[int, str] = field(default_factory=dict)
    """Widths of text features that its networks attend to -> slug of a shipped model of that width."""
    configurations: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Widths of text features -> names in `catalog.configurations` for a checkpoint of one file: of models that predict
    noise, and of those that predict velocity if there are any."""
    latent_channels: int | None = None
    """Channels of its VAEs' latents; None where that is not checked."""
    vae_scaling_factor: float | None = None
    """The factor of its VAEs' latents; None where that is not checked."""
    vae_names: str = ""
    """Pattern of the names, in lower case, of files of its VAEs, for families whose VAEs have the same shape."""
    vae_configuration: str = ""
    """Name in `catalog.configurations` of the published one, for VAEs of one file; "" where there is none."""
    lora: LoraSupport | None = None
    """None where its models take no LoRAs."""
    controlnet: ControlNetSupport | None = None
    """None where its models take no ControlNets, and where those are of a UNet (`text_features`)."""
    image_prompts: ImagePromptSupport | None = None
    """None where its models take no IP-Adapters, and where those are of a UNet (`text_features`)."""
    takes_inpaint_patch: bool = False
    """Whether Fooocus' inpaint patch was made for its models (`catalog.inspection.inpaint_patch`)."""
    embedding: EmbeddingSupport | None = None
    """None where its models take no textual inversions."""
    preview_decoder: str = ""
    """Slug of the shipped tiny VAE that decodes previews."""
    shared_image_encoder_mark: str = ""
    """IP-Adapters with this in their names use the image encoder of another family's in the same repository."""

    # Of other engines and tools

    computes: str = ""
    """The kind of control image that a preprocessor computes, one of `specs.ControlImageKind`."""
    needs: tuple[str, ...] = ()
    """Families of which a preprocessor uses one installed model each."""
    graph_scales: bool = False
    """Whether the graph of an ONNX file with dynamic sizes scales the image to the network's size and its result back;
    others get a square."""
    is_chosen_by_auto: bool = True
    """Whether `auto` takes the engine where its model is the default."""

    @property
    def generates(self) -> bool:
        """Whether people may choose its models to paint with."""
        return self.engine not in TOOLS

    @property
    def component_file(self) -> str:
        """The `ComponentFile` of its layout; "" where no file holds one component of its models without the others."""
        return self.layout.component_file if isinstance(self.layout, DiffusersLayout) else ""

    def clip_skip_of_layer(self, layer: int) -> int:
        """Return the setting `clip_skip`, 1 for `text_layer`, for a layer of the text encoder counted from its end.

        Other services count so; no layer after `text_layer` can be used.
        """
        return max(1, layer - self.text_layer + 1)

    def load_implementation(self) -> Any:
        """Import and return the class or function that computes with models of the family."""
        return pkgutil.resolve_name(self.implementation)
