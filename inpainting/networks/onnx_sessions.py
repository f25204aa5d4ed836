"""onnxruntime sessions of the networks of the catalog, on the CPU. Imports onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.keepalive import run_in_thread
from inpainting.networks.load_errors import load_failure

logger = logging.getLogger(__name__)

FAILURES = (
    *(errors.Fail, errors.InvalidArgument, errors.InvalidGraph),
    *(errors.InvalidProtobuf, errors.NoSuchFile, errors.NotImplemented),
    *(errors.RuntimeException, errors.EPFail, RuntimeError, ValueError),
)


def load_session(spec: ModelSpec, path: Path) -> onnxruntime.InferenceSession:
    """Check an ONNX file and load it. Raises EngineFailed: `model_refused`, `model_unavailable`."""
    check_model(path, spec.family)
    return open_session(spec, path)


def open_session(spec: ModelSpec, path: Path) -> onnxruntime.InferenceSession:
    """Load an ONNX file that was checked. Raises EngineFailed, `model_unavailable`."""
    options = onnxruntime.SessionOptions()
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except FAILURES as error:
        raise load_failure(sentence("The model {label}", label=spec.label), path, error, "model_unavailable") from error


def run_session(
    session: onnxruntime.InferenceSession,
    label: str,
    feeds: Mapping[str, NDArray[Any]],
    on_wait: Callable[[], None] = lambda: None,
) -> NDArray[Any]:
    """The first output. label: the model's, for messages. Raises EngineFailed, `model_failed`.

    on_wait: called while the network runs; an exception from it terminates the run.
    """
    return run_for_outputs(session, label, feeds, [session.get_outputs()[0].name], on_wait)[0]


def run_for_outputs(
    session: onnxruntime.InferenceSession,
    label: str,
    feeds: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
    on_wait: Callable[[], None] = lambda: None,
) -> list[NDArray[Any]]:
    """The outputs of these names, as `run_session` returns the first."""
    options = onnxruntime.RunOptions()

    def keepalive() -> None:
        try:
            on_wait()
        except BaseException:
            options.terminate = True
            raise

    try:
        return [
            np.asarray(output) for output in run_in_thread(partial(session.run, outputs, feeds, options), keepalive)
        ]
    except FAILURES as error:
        logger.exception("%s failed", label)
        raise EngineFailed(
            sentence(
                "The model {label} failed ({name}); see the server's log.", label=label, name=type(error).__name__
            ),
            code="model_failed",
        ) from error
