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

from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.forms import Prepared
from dsunet_runtime.masks.mask_from_logits import MaskStatistics
from dsunet_runtime.masks.renderings import Rendering, draw_renderings
from dsunet_runtime.prediction.ordered_map import map_ready
from dsunet_runtime.prediction.predict_jobs import Steps
from dsunet_runtime.video.colour import to_rgb
from dsunet_runtime.video.reader import DecodedFrame, FrameInfo
from dsunet_runtime.video.smoothing import SegmentedFrame, smooth_masks
from dsunet_runtime.video.writer import FrameSink, Renderings

_MOST_THREADS = 4

_PreparedFrame = tuple[FrameInfo, Prepared]
_ComputedFrame = tuple[FrameInfo, Prepared, Tensors]
_DrawnFrame = tuple[SegmentedFrame, Renderings]


@dataclass(frozen=True, slots=True)
class WrittenFrame:
    """A frame whose renderings are written."""

    info: FrameInfo
    mask: MaskStatistics


@dataclass(frozen=True, slots=True)
class VideoPipeline:
    """The steps for each frame of a video."""

    steps: Steps
    batch: int
    """Number of frames per inference call."""
    smooth: int
    """Number of frames before and after each one whose masks are averaged with its own."""
    renderings: Sequence[Rendering]
    sink: FrameSink
    first: int = 0
    """Index of the first frame to write."""

    def run(self, frames: Iterable[DecodedFrame]) -> Iterator[WrittenFrame]:
        """Compute and write the frames; yield each one, in order, when it is written.

        Closing the iterator, or an exception in its consumer, stops the steps after the frame that
        is being written.

        Raises:
            ImageError: The artifact does not support the size of a frame.
            BackendError: The computation fails.
            OutputError: A frame cannot be written.
        """
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        concurrency = self.steps.concurrency
        pools = readers, computers, finishers, renderers, writers = [
            ThreadPoolExecutor(number) for number in (threads, concurrency, threads, threads, 1)
        ]
        needed = (frame for frame in frames if frame.info.index >= self.first - self.smooth)
        try:
            prepared = map_ready(readers, self._prepare, needed, threads + self.batch)
            batches = iter(lambda: list(islice(prepared, self.batch)), [])
            computed = map_ready(computers, self._infer, batches, concurrency + 1)
            each = chain.from_iterable(computed)
            segmented = map_ready(finishers, self._finish, each, threads)
            smoothed = smooth_masks(segmented, self.smooth) if self.smooth else segmented
            chosen = (frame for frame in smoothed if frame.info.index >= self.first)
            drawn = map_ready(renderers, self._draw, chosen, threads)
            yield from map_ready(writers, self._write, drawn, threads)
        finally:
            for pool in pools:
                pool.shutdown(cancel_futures=True)

    def _prepare(self, frame: DecodedFrame) -> _PreparedFrame:
        rgb = frame.orientation.upright(to_rgb(frame.stored, frame.hdr))
        return frame.info, self.steps.prepare(rgb)

    def _infer(self, batch: Sequence[_PreparedFrame]) -> list[_ComputedFrame]:
        outputs = self.steps.infer([prepared for _, prepared in batch])
        return [(*frame, output) for frame, output in zip(batch, outputs, strict=True)]

    def _finish(self, frame: _ComputedFrame) -> SegmentedFrame:
        info, prepared, outputs = frame
        return SegmentedFrame(info, prepared.rgb, self.steps.finish(outputs, prepared))

    def _draw(self, frame: SegmentedFrame) -> _DrawnFrame:
        return frame, [*draw_renderings(self.renderings, frame.rgb, frame.mask)]

    def _write(self, drawn: _DrawnFrame) -> WrittenFrame:
        frame, renderings = drawn
        self.sink.write(frame.info, renderings)
        return WrittenFrame(frame.info, MaskStatistics.of(frame.mask))
