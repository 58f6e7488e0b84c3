"""Masks of a video whose frames never leave the GPU: NVDEC decodes, an engine computes.

    python examples/gpu_video.py nano.engine clip.mp4

Needs TorchCodec with CUDA (`pip install torchcodec`, and FFmpeg's libraries) beside PyTorch.  It
prints the fraction of each frame that is inside objects; only these numbers are copied to the host.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dsunet_runtime
from dsunet_runtime import Segmenter


def main(engine: str, video: str) -> None:
    import torch

    with dsunet_runtime.load(engine) as segmenter:
        masks = masks_of(
            segmenter,
            decoded(video, segmenter.best_batch),
            lambda shape: torch.empty(shape, dtype=torch.uint8, device="cuda"),
            torch.cuda.current_stream(),
        )
        inside = torch.cat([(batch >= 128).float().mean(dim=(1, 2)) for batch in masks])
    for number, fraction in enumerate(inside.tolist(), start=1):
        print(f"frame {number}: {fraction:.1%} inside")


def decoded(video: str, batch: int) -> Iterator[Any]:
    """Decode a video on the GPU: tensors N×H×W×3, uint8, RGB, in its memory, N up to `batch`."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(video, device="cuda", dimension_order="NHWC")
    for start in range(0, len(decoder), batch):
        stop = min(start + batch, len(decoder))
        yield decoder.get_frames_in_range(start, stop).data.contiguous()


def masks_of(
    segmenter: Segmenter,
    batches: Iterable[Any],
    new: Callable[[tuple[int, ...]], Any],
    stream: Any,
) -> Iterator[Any]:
    """Enqueue the network on each batch of frames, and yield its masks, N×H×W.

    Args:
        segmenter: An engine in the frames form.
        batches: Tensors in GPU memory, as of `decoded`, filled by earlier work on the stream.
        new: Allocates a uint8 tensor of a shape in GPU memory.
        stream: The CUDA stream; the masks are there for later work on it.
    """
    for frames in batches:
        masks = new(tuple(frames.shape[:3]))
        segmenter.run_device({"image": frames}, {"mask": masks}, stream=stream)
        yield masks


if __name__ == "__main__":
    main(*sys.argv[1:])
