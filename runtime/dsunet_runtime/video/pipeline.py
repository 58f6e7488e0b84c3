"""The steps from decoded frames to written ones, overlapped, with few frames in memory.

decoding (a thread) → RGB and preprocessing (threads) → inference → masks (threads)
→ smoothing → renderings (threads) → encoding (a thread)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

from dsunet_runtime.backends import Tensors
from dsunet_runtime.forms import Prepared
from dsunet_runtime.masks.mask_from_logits import MaskStatistics
from dsunet_runtime.masks.renderings import Rendering, draw
from dsunet_runtime.prediction.predict import Steps, behind
from dsunet_runtime.video.colour import to_rgb
from dsunet_runtime.video.reader import Picture, Place
from dsunet_runtime.video.smoothing import Segmented, smoothed
from dsunet_runtime.video.writer import Renderings, Sink

_MOST_THREADS = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with each frame."""

    steps: Steps
    batch: int
    """Number of frames per call of the network."""
    smooth: int
    """Number of frames before and after each one whose masks are blended with its own."""
    renderings: Sequence[Rendering]
    sink: Sink
    first: int = 0
    """Index of the first frame that is written."""


@dataclass(frozen=True, slots=True)
class Written:
    """A frame that is done."""

    place: Place
    mask: MaskStatistics


def process(pictures: Iterable[Picture], work: Work) -> Iterator[Written]:
    """Compute and write the frames; yield them in order when they are written.

    Closing the iterator, or an exception in its consumer, stops the work after the frame that is
    being written.

    Raises:
        ImageError: The artifact does not take the size of a frame.
        BackendError: The computation fails.
        OutputError: A frame cannot be written.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    concurrency = work.steps.concurrency
    pools = readers, computers, finishers, renderers, writers = [
        ThreadPoolExecutor(number) for number in (threads, concurrency, threads, threads, 1)
    ]
    needed = (p for p in pictures if p.place.index >= work.first - work.smooth)
    try:
        ready = behind(readers, lambda p: _prepared(work.steps, p), needed, threads + work.batch)
        groups = iter(lambda: list(islice(ready, work.batch)), [])
        computed = behind(computers, lambda g: _inferred(work.steps, g), groups, concurrency + 1)
        each = chain.from_iterable(computed)
        masks = behind(finishers, lambda c: _finished(work.steps, c), each, threads)
        blended = smoothed(masks, work.smooth) if work.smooth else masks
        wanted = (item for item in blended if item.place.index >= work.first)
        drawn = behind(renderers, lambda item: _drawn(work.renderings, item), wanted, threads)
        yield from behind(writers, lambda item: _written(work.sink, item), drawn, threads)
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


_Ready = tuple[Place, Prepared]
_Computed = tuple[Place, Prepared, Tensors]
_Drawn = tuple[Segmented, Renderings]


def _prepared(steps: Steps, picture: Picture) -> _Ready:
    rgb = picture.orientation.upright(to_rgb(picture.frame, picture.hdr))
    return picture.place, steps.prepare(rgb)


def _inferred(steps: Steps, group: Sequence[_Ready]) -> list[_Computed]:
    outputs = steps.infer([prepared for _, prepared in group])
    return [(*ready, output) for ready, output in zip(group, outputs, strict=True)]


def _finished(steps: Steps, computed: _Computed) -> Segmented:
    place, prepared, outputs = computed
    return Segmented(place, prepared.rgb, steps.finish(outputs, prepared))


def _drawn(renderings: Sequence[Rendering], item: Segmented) -> _Drawn:
    return item, [*draw(renderings, item.rgb, item.mask)]


def _written(sink: Sink, drawn: _Drawn) -> Written:
    item, renderings = drawn
    sink.write(item.place, renderings)
    return Written(item.place, MaskStatistics.of(item.mask))
