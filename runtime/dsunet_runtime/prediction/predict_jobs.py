"""Prediction for many images, with decoding, inference and writing overlapped.

The number of images in memory is bounded by the number of reader and writer threads plus the
batches in progress.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.errors import BackendError, ImageError, OutputError, RuntimeFault
from dsunet_runtime.files import make_folder
from dsunet_runtime.forms import Prepared
from dsunet_runtime.images.decode import ImageLike
from dsunet_runtime.masks.mask_from_logits import MaskStatistics
from dsunet_runtime.masks.renderings import draw_renderings
from dsunet_runtime.memory import check_memory
from dsunet_runtime.prediction.jobs import Job, Output
from dsunet_runtime.prediction.ordered_map import map_ahead, map_ready
from dsunet_runtime.prediction.output_files import write_pixels
from dsunet_runtime.standard_streams import STANDARD_STREAM

_MOST_THREADS = 8
_ALWAYS_FIT = 16
"""Batches up to this size are not checked against the available memory."""


class Steps(Protocol):
    """The three steps of a `Segmenter`."""

    concurrency: int

    def prepare(self, image: ImageLike) -> Prepared: ...

    def infer(self, prepared: Sequence[Prepared]) -> list[Tensors]: ...

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]: ...

    def highest_level(self, outputs: Tensors) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one job.  `fault` is None if its files were written."""

    job: Job
    fault: RuntimeFault | None
    seconds: float
    """Time for decoding, rendering and writing, and a fraction of the time of its batch."""
    mask: MaskStatistics | None = None
    """None if there is no mask."""
    highest_level: int | None = None
    """The highest probability in the mask, 0 to 255, if it is known."""
    is_first_of_several: bool = False
    """Whether the file has several frames, of which the first was used."""


@dataclass(frozen=True, slots=True)
class _Read:
    job: Job
    result: Prepared | RuntimeFault
    seconds: float


@dataclass(frozen=True, slots=True)
class _Computed:
    job: Job
    result: tuple[Prepared, Tensors | BackendError] | RuntimeFault
    seconds: float


def check_batch(segmenter: Steps, jobs: Sequence[Job], batch: int) -> None:
    """Raise BackendError if a batch of images of the size of the first one exceeds the memory."""
    at_once = min(batch, len(jobs))
    if at_once <= _ALWAYS_FIT:
        return
    try:
        image = segmenter.prepare(jobs[0].source)
    except RuntimeFault:  # reported by `predict_jobs`
        return
    inputs = sum(value.nbytes for value in image.inputs.values())
    # Each image, its inputs, and their copy in the batch.
    size = at_once * (image.rgb.nbytes + 2 * inputs)
    check_memory(size, f"a batch of {at_once:,} images like {jobs[0].image}", "lower --batch")


def predict_jobs(segmenter: Steps, jobs: Iterable[Job], batch: int) -> Iterator[Outcome]:
    """Run the jobs in batches of `batch` images, and yield their outcomes in order.

    If a job fails, the others continue.  Closing the iterator, or an exception in its consumer,
    stops the work; each file is then either complete or absent.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    readers, writers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
    computers = ThreadPoolExecutor(segmenter.concurrency)
    try:
        read = map_ahead(readers, lambda job: _read(segmenter, job), jobs, threads + batch)
        groups = iter(lambda: list(islice(read, batch)), [])
        computed = map_ahead(
            computers, lambda group: _compute(segmenter, group), groups, segmenter.concurrency
        )
        items = chain.from_iterable(computed)
        yield from map_ready(writers, lambda item: _finish(segmenter, item), items, threads)
    finally:
        for pool in (readers, computers, writers):
            pool.shutdown(cancel_futures=True)


def _read(segmenter: Steps, job: Job) -> _Read:
    start = time.perf_counter()
    result: Prepared | RuntimeFault
    try:
        result = segmenter.prepare(job.source)
    except RuntimeFault as fault:
        result = fault if job.content is None else ImageError(f"{job.image}: {fault}")
    return _Read(job, result, time.perf_counter() - start)


def _compute(segmenter: Steps, group: list[_Read]) -> list[_Computed]:
    start = time.perf_counter()
    whole = [item.result for item in group if isinstance(item.result, Prepared)]
    outputs = iter(_infer(segmenter, whole))
    seconds = (time.perf_counter() - start) / max(1, len(whole))
    return [
        _Computed(item.job, (item.result, next(outputs)), item.seconds + seconds)
        if isinstance(item.result, Prepared)
        else _Computed(item.job, item.result, item.seconds)
        for item in group
    ]


def _infer(segmenter: Steps, whole: list[Prepared]) -> Sequence[Tensors | BackendError]:
    try:
        return segmenter.infer(whole)
    except BackendError as fault:
        return [fault] * len(whole)


def _finish(segmenter: Steps, item: _Computed) -> Outcome:
    if isinstance(item.result, RuntimeFault):
        return Outcome(item.job, item.result, item.seconds)
    start = time.perf_counter()
    prepared, outputs = item.result
    fault: RuntimeFault | None = None
    statistics = level = None
    try:
        if isinstance(outputs, BackendError):
            raise outputs
        mask = segmenter.finish(outputs, prepared)
        statistics, level = MaskStatistics.of(mask), segmenter.highest_level(outputs)
        renderings = [output.kind.rendering for output in item.job.outputs]
        pixels = draw_renderings(renderings, prepared.rgb, mask)
        for output, drawing in zip(item.job.outputs, pixels, strict=True):
            _write(output, drawing, prepared.icc_profile)
    except BackendError as error:
        fault = BackendError(f"{item.job.image}: {error}")
    except OutputError as error:
        fault = error
    return Outcome(
        item.job,
        fault,
        seconds=item.seconds + time.perf_counter() - start,
        mask=statistics,
        highest_level=level,
        is_first_of_several=fault is None and prepared.is_first_of_several,
    )


def _write(output: Output, pixels: NDArray[np.uint8], icc_profile: bytes | None) -> None:
    if output.path != STANDARD_STREAM:
        make_folder(output.path.parent)  # may be a subfolder of the results
    is_colour = output.kind.rendering.channels > 1
    write_pixels(
        pixels, output.path, output.kind.suffix, icc_profile=icc_profile if is_colour else None
    )
