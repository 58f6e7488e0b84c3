"""Flicker of masks before and after `--smooth K`, its accuracy and its cost.

Conditions: the clips of `video_clips.py`, 60 frames of 640×360; the demonstration checkpoint in
float32 with masks as probabilities, on the CPU.

flicker     mean absolute change of the mask from frame to frame where the image does not change, in
            levels of 255
in motion   the same in an object that moves, or in all if the camera does, along the movement
S-measure   mean over all frames
time        of smoothing, per frame, on one core
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import py_sod_metrics as sod
from common import make_parser, write
from exports import export_ours
from numpy.typing import NDArray
from video_clips import NAMES, SHAPE, Clip, make_clip, moved

from dsunet import demonstration_checkpoint, load_model
from dsunet_runtime import load
from dsunet_runtime.artifact.manifest import InputForm, MaskForm
from dsunet_runtime.video.reader import FrameInfo
from dsunet_runtime.video.smoothing import SegmentedFrame, smooth_masks

REACHES = (0, 1, 2, 4)

Image = NDArray[np.uint8]


def main() -> None:
    make_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "nano.onnx"
        export_ours(
            load_model(demonstration_checkpoint()),
            artifact,
            input_form=InputForm.FRAMES,
            batch=None,
            mask_form=MaskForm.PROBABILITY,
        )
        clips = {}
        with load(artifact) as segmenter:
            for name in NAMES:
                clip = make_clip(name)
                start = time.perf_counter()
                masks = [segmenter(image) for image in clip.images]
                seconds = (time.perf_counter() - start) / len(masks)
                clips[name] = {
                    "seconds_per_mask": seconds,
                    "smoothing": measure(name, clip, masks),
                }
    write("video", {"shape": SHAPE, "clips": clips})


def measure(name: str, clip: Clip, masks: Sequence[Image]) -> dict[str, Any]:
    """Smooth the masks of a clip, and print and return the figures by K."""
    found = {}
    for reach in REACHES:
        start = time.perf_counter()
        new = smooth(clip.images, masks, reach) if reach else list(masks)
        seconds = (time.perf_counter() - start) / len(new)
        figures = {
            "flicker": flicker(clip, new),
            "in_motion": flicker_in_motion(clip, new),
            "s_measure": s_measure(clip, new),
            "seconds": seconds,
        }
        print(
            f"{name:6} K={reach}  flicker {figures['flicker']:.3f}  in motion "
            f"{figures['in_motion']:.2f}  S-measure {figures['s_measure']:.4f}  "
            f"{1000 * seconds:.0f} ms",
            flush=True,
        )
        found[str(reach)] = figures
    return found


def smooth(images: Sequence[Image], masks: Sequence[Image], reach: int) -> list[Image]:
    """Run `--smooth` on masks."""
    places = [FrameInfo(index, index, 1, None) for index in range(len(images))]
    return [item.mask for item in smooth_masks(map(SegmentedFrame, places, images, masks), reach)]


def flicker(clip: Clip, masks: Sequence[Image]) -> float:
    """Mean change where the image does not change, in levels; NaN if it changes everywhere."""
    changes = [
        np.abs(new.astype(int) - old)[still]
        for old, new, still in zip(masks, masks[1:], clip.is_still, strict=False)
    ]
    values = np.concatenate(changes)
    return float(values.mean()) if values.size else float("nan")


def flicker_in_motion(clip: Clip, masks: Sequence[Image]) -> float:
    """Mean change in moving parts, along their movement, in levels; without jumps back."""
    changes = [
        np.abs(moved(old.astype(int), by) - new)[moving & moved(np.ones(SHAPE, bool), by)]
        for old, new, by, moving in zip(
            masks, masks[1:], clip.movements, clip.moving[1:], strict=False
        )
        if by is not None
    ]
    return float(np.concatenate(changes).mean())


def s_measure(clip: Clip, masks: Sequence[Image]) -> float:
    """Mean S-measure."""
    measure = sod.Smeasure()
    for mask, inside in zip(masks, clip.inside, strict=True):
        measure.step(mask, 255 * inside.astype(np.uint8))
    return float(measure.get_results()["sm"])


if __name__ == "__main__":
    main()
