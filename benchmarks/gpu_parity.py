"""Parity of PyTorch on a GPU in float32, float16 and bfloat16 with float32 references; no TF32.

oracle   `large` with the oracle's weights on the oracle's image, against the published code on a
         CPU.  These weights amplify rounding: see tests/model/test_oracle.py
random   randomly initialised weights on a generated image of 1280×720 and its mirror image, against
         this project's model on the CPU
trained  the demonstration checkpoint on synthetic scenes, against this project's model on the CPU

Logits: largest and RMS difference, both divided by the standard deviation of the reference.  Masks:
intersection over union of logits above zero, or for random weights above the mean of the reference.
NaN and infinity fail, and so does float32 outside the tolerances of the oracle's test.
"""

from __future__ import annotations

import copy
import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import write
from exports import new_model
from gpu_calls import machine_parser, open_device
from gpu_frames import Frames, make_frames
from torch import Tensor

from dsunet import load_model
from dsunet.checkpoints.demonstration import demonstration_checkpoint
from dsunet.network.model import DSUNet
from dsunet.scenes import write_scenes
from dsunet_export.graph.forms import Preprocess
from dsunet_export.verification.measures import overlap
from dsunet_runtime.images.decode import read_rgb

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' oracle
from tests.fill_weights import inputs
from tests.model.oracle import (
    DECODER_RMS_TOLERANCE,
    DECODER_TOLERANCE,
    DSU_NET_ORACLE,
    SEED,
)

TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SCENES, SCENES_SEED = 8, 7


def main() -> None:
    arguments = machine_parser(__doc__).parse_args()
    gpu = open_device(arguments.device)
    found: dict[str, Any] = {"preset": arguments.preset, "oracle": {}, "random": {}, "trained": {}}
    cases: dict[str, Callable[[], Case]] = {
        "trained": trained_case,
        "random": functools.partial(random_case, arguments.preset),
    }
    if arguments.preset == "large":
        cases = {"oracle": oracle_case, **cases}
    for name, make in cases.items():
        model, images, expected = make()
        for type_name, dtype in TYPES.items():
            logits = compute(model, images, dtype, arguments.device)
            level = expected.mean().item() if name == "random" else 0.0
            found[name][type_name] = difference(logits, expected, level)
            print(name, type_name, found[name][type_name], flush=True)
        write("gpu_parity", found, gpu)
    results = [one for name in cases for one in found[name].values()]
    if not all(one["finite"] for one in results):
        raise SystemExit("gpu_parity.py: some logits are NaN or infinite: see `finite`")
    exact = [found[name]["float32"] for name in cases]
    if any(
        one["largest"] > DECODER_TOLERANCE or one["relative_rms"] > DECODER_RMS_TOLERANCE
        for one in exact
    ):
        raise SystemExit("gpu_parity.py: float32 is outside its tolerance")


Case = tuple[DSUNet, tuple[Tensor, ...], Tensor]
"""A model in float32 on the CPU, its normalised images, and the logits that are expected."""


def oracle_case() -> Case:
    dino, hiera = (torch.from_numpy(image) for image in inputs(SEED))
    expected = DSU_NET_ORACLE.reference_maps()["out3_full"]
    return DSU_NET_ORACLE.filled(), (hiera, dino), torch.from_numpy(expected)


@torch.inference_mode()
def random_case(preset: str) -> Case:
    frames = Frames(new_model(preset), torch.float32).eval()
    images = tuple(frames.preprocess(make_frames(2)))
    return frames.model, images, frames.model(*images).fine


@torch.inference_mode()
def trained_case() -> Case:
    model = load_model(demonstration_checkpoint())
    preprocess = Preprocess(list(model.config.input_sizes.values()))
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), SCENES, seed=SCENES_SEED)
        files = sorted((Path(folder) / "Image").iterdir())
        each = [preprocess(torch.tensor(read_rgb(file))[None]) for file in files]
    images = tuple(torch.cat(one) for one in zip(*each, strict=True))
    return model, images, model(*images).fine


@torch.inference_mode()
def compute(model: DSUNet, images: tuple[Tensor, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Fine logits, computed by a copy of the model in a type on a device."""
    reduced = copy.deepcopy(model).to(device, dtype)
    logits: Tensor = reduced(*(image.to(device, dtype) for image in images)).fine
    return logits.float().cpu()


def difference(found: Tensor, expected: Tensor, level: float) -> dict[str, Any]:
    """Compare logits, and the masks above a level, with the reference."""
    deviation = expected.double().std()
    errors = (found.double() - expected) / deviation
    ours, theirs = found > level, expected > level
    return {
        "finite": bool(found.isfinite().all()),
        "relative_rms": errors.square().mean().sqrt().item(),
        "largest": errors.abs().max().item(),
        "iou": overlap(theirs.numpy(), ours.numpy()),
        "mask_fraction": theirs.double().mean().item(),
    }


if __name__ == "__main__":
    main()
