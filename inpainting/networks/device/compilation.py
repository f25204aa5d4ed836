"""Networks whose repeated blocks torch compiles in the step that first needs them."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental._config

from inpainting.core.sentences import sentence
from inpainting.networks.device.hardware import is_device_lost, is_out_of_memory

logger = logging.getLogger(__name__)

OFF, AUTO, BLOCKS, TRANSFORMERS = "off", "auto", "blocks", "transformers"
"""Values of DREAMLAYER_DIFFUSION_COMPILE, and what `auto` means on a GPU: the blocks of transformers, not of UNets."""
FIRST_CAPABILITY = (7, 0)
"""The compute capability of the oldest NVIDIA GPUs for which Triton generates code."""

OPTIONS: dict[str, Any] = {"dynamic": True}
"""The options of `torch.compile`. One version serves all image sizes, lengths of text and numbers of rows but 1."""
RECOMPILE_LIMIT = 64
"""Compiled versions of one function, above which torch computes it plainly: the blocks of a UNet differ in width, and
those of all models of a process are counted together. Torch's default is 8."""


class CompiledNetwork:
    """Calls a network for steps with its repeated blocks compiled (`compile_repeated_blocks` of diffusers).

    The first step compiles, which takes up to a minute, and the steps of others wait; later ones compile again where
    they are the first of one row, of several, or with a mask of padding. Where compiling fails, or the class of the
    network names no repeated blocks, all calls are computed plainly until the model is loaded again. `network` itself
    stays plain: with hooks of LoRAs or with image prompts it has other layers.
    """

    def __init__(self, network: Any, slug: str) -> None:
        self.network, self.slug = network, slug
        self.rejection: str | None = None
        """A sentence for the metadata if compiling has failed."""
        self._compiled: Any = copy_with_same_weights(network)
        try:
            self._compiled.compile_repeated_blocks(**OPTIONS)
        except ValueError as error:
            self._reject(error)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self._compiled is not None:
            configure_thread()
            try:
                return self._compiled(*arguments, **keywords)
            except Exception as error:
                if is_out_of_memory(error) or is_device_lost(error):
                    raise
                self._reject(error)
        return self.network(*arguments, **keywords)

    def _reject(self, error: Exception) -> None:
        logger.warning("%s is computed without compiled blocks", self.slug, exc_info=error)
        self.rejection = sentence(
            "The network could not be compiled ({error}); it was computed without.", error=type(error).__name__
        )
        self._compiled = None


def compilation_for(word: str, device: torch.device) -> str:
    """What is compiled for a device: one of BLOCKS and TRANSFORMERS, or "" for nothing. word: OFF, AUTO or BLOCKS."""
    if word == AUTO:
        return TRANSFORMERS if device.type == "cuda" and can_generate_code(device) else ""
    return "" if word == OFF else word


def can_generate_code(device: torch.device) -> bool:
    """Whether Triton supports a GPU, and finds the C compiler and the headers of Python that it needs."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    has_headers = (Path(sysconfig.get_path("include")) / "Python.h").exists()
    is_able = find_spec("triton") is not None and bool(compiler) and has_headers
    return is_able and torch.cuda.get_device_capability(device) >= FIRST_CAPABILITY


def import_compiler() -> None:
    """Import what compiles, before `freeze_imports`: each full garbage collection of its objects would delay steps."""


def configure_thread() -> None:
    """Configure the compiler for the thread that calls: torch keeps its configuration for each thread."""
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    # Else two sides that are equal in the first step, as of a square image, would have to be so in all.
    torch.fx.experimental._config.use_duck_shape = False


def copy_with_same_weights(network: torch.nn.Module) -> torch.nn.Module:
    """A network whose modules are its own and whose weights are those of `network`, in no further memory.

    A parameter that replaces one of `network`, as fused LoRAs do, replaces it in both: they have the same dictionaries.
    """
    modules = [*network.modules()]
    return copy.deepcopy(
        network, {id(named): named for module in modules for named in (module._parameters, module._buffers)}
    )
