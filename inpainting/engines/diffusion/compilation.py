"""Networks compiled by torch beside the steps of others, and used where they have computed the same as before."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from queue import Queue
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map_only

from inpainting.engines.diffusion.hardware import is_device_lost, is_out_of_memory
from inpainting.engines.diffusion.kernels import BLOCKS, GRAPHS

logger = logging.getLogger(__name__)

OPTIONS: dict[str, dict[str, Any]] = {BLOCKS: {}, GRAPHS: {"mode": "reduce-overhead"}}
"""Of `torch.compile`, for each way to compile."""
MAX_SHAPES = 8
"""Shapes of inputs that a network is compiled for. Torch looks through them at each call, and each takes a minute."""
CODE_PER_SHAPE = 16
"""Compiled versions of one function that a shape needs at most: the blocks of a UNet differ in size."""
CALLS_BEFORE_USE = 3
"""A CUDA graph is recorded in the second call and first replayed in the third."""
MAX_RELATIVE_ERROR = {torch.float32: 2e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest |compiled - plain| / |plain| of a shape's first output.

Two ways to round float16 (11 bits) or TF32 differ by about 1e-3 after a whole network, of bfloat16 (8 bits) by about
1e-2 (measured for OpenVINO, see `backends/openvino`). A network that computes something else has an error of about 1.
"""


class CompilerThread:
    """The only thread that compiles networks and calls compiled ones, one at a time, for the whole process.

    Torch keeps recorded CUDA graphs and the settings of its compiler for each thread, and a compiled network cannot be
    called while another thread compiles.
    """

    def __init__(self) -> None:
        self._calls: Queue[tuple[Callable[[], Any], Future[Any]]] = Queue()

    @property
    def is_busy(self) -> bool:
        return self._calls.unfinished_tasks > 0

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._calls.put((call, future))
        self._thread  # noqa: B018 - starts it
        return future

    @cached_property
    def _thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="compiled-networks", daemon=True)
        thread.start()
        return thread

    @torch.inference_mode()
    def _run(self) -> None:
        import torch._dynamo

        torch._dynamo.config.recompile_limit = MAX_SHAPES * CODE_PER_SHAPE
        torch._dynamo.config.accumulated_recompile_limit = 16 * MAX_SHAPES * CODE_PER_SHAPE
        while True:
            call, future = self._calls.get()
            try:
                settle = partial(future.set_result, call())
            except BaseException as error:
                settle = partial(future.set_exception, error)
            self._calls.task_done()  # before the caller goes on, which may call again
            settle()
            del call, future, settle  # they hold a network


THREAD = CompilerThread()


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A compilation and comparison that runs. error: as `relative_error` returns it. allowed: largest such error."""

    shape: Hashable
    error: Future[float | None]
    allowed: float


class CompiledNetwork:
    """Calls a network for steps, compiled for the shapes whose outputs were compared.

    The first call with a shape is computed plainly; beside it the network is compiled for the shape and its output
    compared. Meanwhile, and for further shapes than MAX_SHAPES, calls are computed plainly. Where compiling fails or
    the output differs, all calls are computed plainly until the model is loaded again. Only the device's thread calls
    it.

    network: a model of diffusers, without adapters. kind: a key of OPTIONS. slug: of the model, for the log. twin: see
    `with_same_weights`, made if left out.
    """

    def __init__(self, network: Any, kind: str, slug: str, *, twin: Any | None = None) -> None:
        self.network, self.kind, self.slug = network, kind, slug
        self.rejection: str | None = None
        """A sentence for the metadata if compiling has failed."""
        self._twin: Any = with_same_weights(network) if twin is None else twin
        self._usable: dict[Hashable, bool] = {}
        """Shapes that were compared; False where nothing could be decided."""
        self._is_wrapped = False
        self._running: Comparison | None = None
        self._reasons: set[str] = set()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self._running is not None and self._running.error.done():
            self._end_comparison(self._running)
        if self.rejection is not None:
            return self.network(*arguments, **keywords)
        shape = shape_of((arguments, keywords))
        is_idle = not THREAD.is_busy
        if is_idle and self._usable.get(shape, False):
            return self._call_compiled(arguments, keywords)
        output = self.network(*arguments, **keywords)
        if is_idle and self._running is None and shape not in self._usable and len(self._usable) < MAX_SHAPES:
            compare = partial(self._compare, self._twin, arguments, keywords, output)
            self._running = Comparison(shape, THREAD.submit(compare), allowed_error(output))
        return output

    def tell_plain(self, reason: str) -> None:
        """Log, once, why calls are computed plainly. reason: the end of the sentence."""
        if reason not in self._reasons:
            self._reasons.add(reason)
            logger.info("%s is computed without compiled parts %s", self.slug, reason)

    def compiled_anew(self) -> CompiledNetwork:
        """The same for weights of another precision. What was compiled, or is being compiled, is forgotten."""
        if self.rejection is not None:
            return self
        return CompiledNetwork(self.network, self.kind, self.slug, twin=self._twin)

    def wait(self) -> None:
        """Wait for the comparison that runs, if any."""
        if self._running is not None:
            self._end_comparison(self._running)

    def _call_compiled(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        try:
            return THREAD.submit(partial(self._run, self._twin, arguments, keywords, "fail_on_recompile")).result()
        except Exception as error:
            if is_out_of_memory(error) or is_device_lost(error):
                raise
            logger.exception("The compiled network of %s failed", self.slug)
            self._reject(f"The compiled network failed ({type(error).__name__}); it was computed without.")
            return self.network(*arguments, **keywords)

    def _end_comparison(self, comparison: Comparison) -> None:
        self._running = None
        try:
            error = comparison.error.result()
        except Exception as failure:
            logger.warning("%s cannot be compiled", self.slug, exc_info=failure)
            self._reject(f"The network could not be compiled ({type(failure).__name__}); it was computed without.")
            return
        self._usable[comparison.shape] = error is not None
        if error is None:
            return
        logger.info("The compiled network of %s is %.2g from the plain one", self.slug, error)
        if not error <= comparison.allowed:  # so is an error that is no number
            self._reject(f"The compiled network computed something else ({error:.2g}); it was computed without.")

    def _reject(self, reason: str) -> None:
        logger.warning("%s: %s", self.slug, reason)
        self.rejection, self._twin = reason, None

    # On the compiler's thread

    def _compare(
        self, twin: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any], expected: Any
    ) -> float | None:
        """Compile for these inputs. Returns the error of the output; None if what is expected is not finite."""
        if not self._is_wrapped:
            twin(*arguments, **keywords)  # what some networks compute in their first call cannot be compiled
            wrap(twin, self.kind)
            self._is_wrapped = True
        for _ in range(CALLS_BEFORE_USE):
            found = self._run(twin, arguments, keywords, "default")
        return relative_error(found, expected)

    def _run(self, twin: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any], stance: str) -> Any:
        """stance: of torch's compiler; a step never compiles, as others would wait."""
        with on_device(self.network.device), torch.compiler.set_stance(stance):
            if self.kind == GRAPHS:
                torch.compiler.cudagraph_mark_step_begin()
            output = twin(*arguments, **keywords)
            # The next replay of a CUDA graph writes over its output.
            return tree_map_only(torch.Tensor, torch.clone, output)


def import_compiler() -> None:
    """Import what compiles, before `freeze_imports`: each full garbage collection of its objects would delay steps."""
    import torch._dynamo
    import torch._inductor.compile_fx  # noqa: F401


def with_same_weights(network: torch.nn.Module) -> torch.nn.Module:
    """A network whose modules are its own and whose weights are those of `network`, in no further memory."""
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def wrap(network: Any, kind: str) -> None:
    """Let a network be compiled in its next call.

    By blocks: those that repeat, which takes a fraction of the time (`ModelMixin.compile_repeated_blocks`). With
    graphs: whole, so that each shape is a single CUDA graph, where torch can record it. Raises ValueError.
    """
    options = {"fullgraph": True, "dynamic": False, **OPTIONS[kind]}
    if kind == BLOCKS:
        network.compile_repeated_blocks(**options)
    else:
        network.compile(**options)


def shape_of(inputs: Any) -> Hashable:
    """Equal for inputs that compiled code does not tell apart."""
    leaves, structure = tree_flatten(inputs)
    return structure, *(
        (leaf.shape, leaf.stride(), leaf.dtype, leaf.device) if isinstance(leaf, torch.Tensor) else repr(leaf)
        for leaf in leaves
    )


def relative_error(found: Any, expected: Any) -> float | None:
    """|found - expected| / |expected| of the tensors of two outputs; None if those expected are not finite."""
    mine, theirs = (
        torch.cat([leaf.float().flatten() for leaf in tree_flatten(output)[0]]) for output in (found, expected)
    )
    if not bool(torch.isfinite(theirs).all()):
        return None
    return float((mine - theirs).norm() / theirs.norm().clamp(min=1e-12))


def allowed_error(output: Any) -> float:
    """The largest error of an output, by its precision."""
    return max(MAX_RELATIVE_ERROR.get(leaf.dtype, 0.0) for leaf in tree_flatten(output)[0])


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Make a CUDA device the current one of this thread."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
