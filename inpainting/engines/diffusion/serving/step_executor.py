"""Execution: one step for all samples of a batch, and the decoding of those that are done."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting import metrics
from inpainting.engines.base import Step
from inpainting.engines.diffusion import regional_prompts
from inpainting.engines.diffusion.latent_codec import invalid_output
from inpainting.engines.diffusion.previews import Due, Preview, previews_of
from inpainting.engines.diffusion.sampling.denoising import advance
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS, DeviceWatchdog
from inpainting.engines.diffusion.serving.failures import RetryPolicy, fail, log_unexpected, preview_failed
from inpainting.engines.diffusion.serving.jobs import InFlightSample, StepBatch, StepTaken, WaitingSample, count_rows
from inpainting.engines.diffusion.serving.lora_fusion import fuse_loras
from inpainting.networks.device.hardware import DeviceTimer, FiniteCheck, finite_checks

logger = logging.getLogger(__name__)

PREVIEW_INTERVAL_SECONDS = 0.5
MAX_DECODED_PIXELS = 2 * 1024 * 1024
"""Pixels decoded at a time, if more than one image: a VAE takes as long as many steps, and GB for a few images."""


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """A call of a model's network. byte_count: memory it took beside the weights, 0 where that was not measured.

    It does not refer to the batch, which would keep the model in memory.
    """

    slug: str
    tuner: BatchSizeTuner
    rows: int
    timer: DeviceTimer
    byte_count: int


class StepExecutor:
    """Runs batches on the device. Its work is queued: of a step, only the check of the step before waits for it.

    max_rows: see `Admission`.
    """

    def __init__(self, retries: RetryPolicy, watchdog: DeviceWatchdog, *, max_rows: int | None) -> None:
        self.max_rows = max_rows
        self.retries = retries
        self.hardware = retries.cache.hardware
        self.watchdog = watchdog
        self._measured: list[MeasuredStep] = []
        """Steps whose times the device has not noted yet."""

    def step(self, batch: StepBatch) -> None:
        """One step for all samples of a batch, in as few calls of the UNet as memory allows."""
        batch.last_stepped = time.monotonic()
        if self.max_rows != 1:  # an image of the deterministic mode must not depend on what was painted before
            with self.watchdog.deadline(LOADING_SECONDS):
                fuse_loras(batch, self.retries.workload)
        samples = list(batch.samples)
        predictions: list[torch.Tensor | Exception] = []
        while len(predictions) < len(samples):
            some = samples[len(predictions) : len(predictions) + batch.max_samples]
            # Any step may be the first with so many rows that blocks are compiled for it.
            expected = None if batch.model.is_compiled else batch.tuner.expected_seconds(count_rows(some))
            with self.watchdog.step_deadline(expected):
                predictions += self.retries.run(lambda part: self._predict(batch, part), some, batch.model, batch)
        with self.watchdog.step_deadline(batch.tuner.expected_seconds(count_rows(samples))):
            self._advance(samples, predictions, batch)
        self._record_known()

    def finish(self, batch: StepBatch) -> None:
        """Remove the samples that are done from the batch, and decode some of them together.

        The others are decoded in later turns, so that other batches step meanwhile.
        """
        for sample in [sample for sample in batch.samples if sample.state.is_done and not sample.job.is_done]:
            with self.watchdog.step_deadline(batch.tuner.expected_seconds(batch.rows)):
                is_finite = self._is_finite(sample, sample.finite)
            if is_finite:
                batch.undecoded.append(sample)
            elif not sample.job.is_done:
                self._start_again(sample, batch, steps_reported=sample.state.calls_done)
        batch.samples = [sample for sample in batch.samples if not sample.state.is_done]
        if not batch.samples and batch.key.cache_level is not None:
            batch.model.block_cache.remove()
        count = max(1, MAX_DECODED_PIXELS // batch.key.size.area)
        done = batch.undecoded[:count]
        if not done:
            return
        with self.watchdog.deadline(LOADING_SECONDS):
            results = self.retries.run(lambda part: self._decode(batch, part), done, batch.model)
        for sample, result in zip(done, results, strict=True):
            if isinstance(result, Exception):
                fail(sample.job, result)
            else:
                sample.job.finish(sample.index, result, batch.model)
                batch.model.memory_shortage.image_count += 1
        del batch.undecoded[:count]  # not before, so that an unexpected error fails their jobs, too
        self._record_known()  # the images are on the host, so that the device has done all steps before

    def _predict(self, batch: StepBatch, samples: Sequence[InFlightSample]) -> list[torch.Tensor]:
        rows = count_rows(samples)
        measures_memory = not batch.tuner.knows(rows)
        before = self.hardware.reset_peak() if measures_memory else 0
        timer = self.hardware.timer()
        with self._block_cache(batch, samples):
            predictions = regional_prompts.predict(batch.model, [sample.state for sample in samples], batch.backend)
        timer.stop()
        byte_count = self.hardware.peak_bytes() - before if measures_memory else 0
        self._measured.append(MeasuredStep(batch.model.spec.slug, batch.tuner, rows, timer, byte_count))
        return predictions

    def _block_cache(self, batch: StepBatch, samples: Sequence[InFlightSample]) -> AbstractContextManager[None]:
        """The cache of the batch's only image, where it was requested and its rows are computed together."""
        model, level = batch.model, batch.key.cache_level
        if level is None or model.rows_per_call is not None:
            model.block_cache.remove()
            return nullcontext()
        return model.block_cache.applied(model.network, samples[0].state, level)

    def _record_known(self) -> None:
        """Record the steps whose times are known, without waiting for the others."""
        while self._measured and self._measured[0].timer.is_known:
            measured = self._measured.pop(0)
            seconds = measured.timer.seconds
            allowed = measured.tuner.rows if self.max_rows is None else self.max_rows
            measured.tuner.record(measured.rows, seconds, measured.byte_count)
            metrics.STEP_SECONDS.labels(measured.slug).observe(seconds)
            metrics.STEP_ROWS.labels(measured.slug).observe(measured.rows)
            metrics.STEP_OCCUPANCY.labels(measured.slug).observe(
                min(1, measured.rows / allowed)
            )  # 1: an image of many rows

    def _decode(self, batch: StepBatch, samples: Sequence[InFlightSample]) -> list[NDArray[np.uint8]]:
        vaes = {id(sample.job.vae): sample.job.vae for sample in samples}
        if len(vaes) > 1:  # the VAE's files were replaced between two starts
            return [image for sample in samples for image in self._decode(batch, [sample])]
        (vae,) = vaes.values()
        latents = torch.cat([sample.state.latents for sample in samples])
        return batch.model.codec(vae, batch.backend).decode(latents)

    def _advance(
        self, samples: Sequence[InFlightSample], predictions: Sequence[torch.Tensor | Exception], batch: StepBatch
    ) -> None:
        """Take the step of each sample's own schedule, for all together, and report it with a preview."""
        answers: dict[InFlightSample, torch.Tensor] = {}
        for sample, prediction in zip(samples, predictions, strict=True):
            if isinstance(prediction, Exception):
                fail(sample.job, prediction)
            else:
                answers[sample] = prediction

        def advanced(part: Sequence[InFlightSample]) -> list[FiniteCheck]:
            latents = advance([sample.state for sample in part], [answers[sample] for sample in part])
            return finite_checks(latents)

        checks = self.retries.run(advanced, list(answers), batch.model) if answers else []
        taken: list[InFlightSample] = []
        for sample, check in zip(answers, checks, strict=True):
            if isinstance(check, Exception):
                fail(sample.job, check)
            elif self._goes_on(sample, check, batch):
                taken.append(sample)
        previews = due_previews(taken)
        for sample in taken:
            job = sample.job
            job.steps_done += 1
            computed_by = job.computed_by(batch.model.hardware.dtype)
            step = Step(job.steps_done, job.steps_total, computed_by=computed_by)
            job.messages.put(StepTaken(sample, step, previews.get(sample)))

    def _goes_on(self, sample: InFlightSample, check: FiniteCheck, batch: StepBatch) -> bool:
        """Whether the latents of an image are finite, as far as that is known by now; if not it starts again."""
        before, sample.finite = sample.finite, check
        known = before if check.is_queued else check
        if known is None or self._is_finite(sample, known):
            return True
        if not sample.job.is_done:
            self._start_again(sample, batch, steps_reported=sample.state.calls_done - 1)
        return False

    def _is_finite(self, sample: InFlightSample, check: FiniteCheck | None) -> bool:
        """Whether a sample's latents are finite; False also where the device fails to say so, which fails the job."""
        try:
            return check is None or check.is_finite
        except Exception as error:
            fail(sample.job, log_unexpected(error))
            return False

    def _start_again(self, sample: InFlightSample, batch: StepBatch, *, steps_reported: int) -> None:
        """Start an image with latents that are not finite once more in bfloat16, or fail its job."""
        batch.samples.remove(sample)
        job = sample.job
        if sample.dtype != torch.float16:
            fail(job, invalid_output())
            return
        if batch.model.hardware.dtype == torch.float16:
            logger.warning("%s overflows in float16 and computes in bfloat16 from now on", job.spec.slug)
            batch.model.use_bfloat16()
        job.steps_done -= steps_reported
        self.retries.workload.waiting.appendleft(WaitingSample(job, sample.index))


def due_previews(samples: Sequence[InFlightSample]) -> dict[InFlightSample, Preview]:
    """The previews that are due, those of one decoder and size made together.

    One that fails is the image's last: it must not fail the job, nor end the previews of others.
    """
    groups: dict[object, dict[InFlightSample, Due]] = {}
    now = time.monotonic()
    for sample in samples:
        previewer = sample.previewer  # the caller's thread may end them
        if previewer is not None and now - sample.job.previewed_at >= PREVIEW_INTERVAL_SECONDS:
            sample.job.previewed_at = now
            groups.setdefault(previewer.group, {})[sample] = previewer, sample.state
    return {sample: preview for group in groups.values() for sample, preview in make_together(group).items()}


def make_together(group: Mapping[InFlightSample, Due]) -> dict[InFlightSample, Preview]:
    """The previews of images of one group; where that fails each is made alone."""
    try:
        return dict(zip(group, previews_of([*group.values()]), strict=True))
    except Exception as error:
        if len(group) > 1:
            alone = [make_together({sample: due}) for sample, due in group.items()]
            return {sample: preview for previews in alone for sample, preview in previews.items()}
        preview_failed(next(iter(group)), error)
        return {}
