"""PyTorch on a GPU in float32, float16 and bfloat16 beside float32 on the CPU; no TF32.

Random weights, a made image of 1280×720 and its mirror image.  Of the logits, the root mean square
of the difference over that of the reference; of the masks, how many of 255 levels they differ.
**Not run on a GPU yet**, and so without tolerances: numbers that are none fail.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from common import write
from exporting import new_model
from gpu_calls import add_machine, open_device
from gpu_frames import Frames, make_frames
from torch import Tensor

from dsunet_runtime.bench.image import DEFAULT_SIZE

TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_machine(parser)
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    image = make_frames(2)
    expected = compute(arguments.preset, image, torch.float32)
    found = {}
    for name, dtype in TYPES.items():
        given = compute(arguments.preset, image.to(arguments.device), dtype)
        found[name] = difference(given, expected)
        print(name, found[name], flush=True)
    write("gpu_parity", {"preset": arguments.preset, "float32_on_cpu_and": found}, gpu)
    if not all(one["finite"] for one in found.values()):
        raise SystemExit("gpu_parity.py: some logits are no numbers: see `finite`")


@torch.inference_mode()
def compute(preset: str, image: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits and masks, computed where the image is."""
    frames = Frames(new_model(preset), dtype).eval().to(image.device)
    logits = frames.logits(image)
    return logits.cpu(), frames.postprocess(logits, DEFAULT_SIZE).cpu()


def difference(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """How far logits and masks are from those expected."""
    logits, masks = (one.double() - other for one, other in zip(found, expected, strict=True))
    return {
        "finite": bool(found[0].isfinite().all()),
        "relative_rms": (logits.norm() / expected[0].double().norm()).item(),
        "largest": logits.abs().max().item(),
        "mask_levels_mean": masks.abs().mean().item(),
        "mask_levels_largest": masks.abs().max().item(),
    }


if __name__ == "__main__":
    main()
