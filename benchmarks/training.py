"""Training: throughput with and without the DINOv2 feature cache; memory with checkpointing.

Three loops train the same network from the same weights on the same batches: `published`, a loop as
in the published code; `ours`; and `ours_cached`, with a filled feature cache.

Conditions: frozen encoders, randomly initialised weights, float32 unless `--precision` is given.
Worker processes decode and resample in all three.  The time of a step includes waiting for the
batch.  All loops run in one process, interleaved: each round times some steps of each and starts
with another loop; the first round is not counted.  Filling the cache is timed separately.

Peak memory is measured in a new process for each variant: the resident set on a CPU, PyTorch's
allocations on a GPU.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import (
    add_preset_option,
    add_rounds_option,
    in_new_process,
    make_parser,
    peak_bytes,
    ratio,
    summaries,
    summary,
    write,
)
from gpu_calls import synchronize
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from dsunet import DSUNetConfig, random_model
from dsunet.data.pairs import Pair
from dsunet.data.samples import BatchPlan, Samples
from dsunet.network.model import DSUNet, freeze_encoders
from dsunet.scenes import write_scenes
from dsunet.torch_device import TorchDevice
from dsunet.training.feature_extraction import extract_features
from dsunet.training.options import TrainingOptions, TrainingPrecision
from dsunet.training.progress_report import ProgressReport
from dsunet.training.recomputation import recompute_blocks
from dsunet.training.run import make_fabric
from dsunet.training.step import Stepper
from dsunet.training.training_data import TrainingData, find_training_data
from dsunet.training.training_network import TrainingNetwork

Step = Callable[[], None]
"""Performs one training step."""


class PublishedDataset(Dataset[dict[str, Tensor]]):
    """Decoding and augmentation with torchvision, as in the published code."""

    def __init__(self, pairs: list[Pair], config: DSUNetConfig) -> None:
        self.pairs = pairs
        self.sizes = config.input_sizes
        self.normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = Image.open(self.pairs[index].image).convert("RGB")
        mask = Image.open(self.pairs[index].mask).convert("L")
        flips = [axis for axis in (1, 2) if torch.rand(()) < 0.5]
        to_tensor = transforms.functional.to_tensor
        sample = {
            name: self.normalize(to_tensor(image.resize((side, side)))).flip(flips)
            for name, side in self.sizes.items()
        }
        side = self.sizes["hiera"]
        return {**sample, "mask": to_tensor(mask.resize((side, side))).flip(flips)}


def published_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """The loss of the published code: a 31×31 average pooling, computed again for each output."""
    weight = 1 + 5 * torch.abs(F.avg_pool2d(mask, 31, stride=1, padding=15) - mask)
    entropy = F.binary_cross_entropy_with_logits(logits, mask)
    inside = logits.sigmoid()
    both = (inside * mask * weight).sum((2, 3))
    either = ((inside + mask) * weight).sum((2, 3))
    return (entropy + 1 - (both + 1) / (either - both + 1)).mean()


def endless(loader: Callable[[int], DataLoader[Any]]) -> Iterator[dict[str, Tensor]]:
    epoch = 0
    while True:
        yield from loader(epoch)
        epoch += 1


def published_step(model: DSUNet, options: TrainingOptions, data: TrainingData) -> Step:
    """Set up the loop of the published code."""
    dataset = PublishedDataset(list(data.pairs), model.config)
    device = options.device.resolve()
    batches = endless(
        lambda _: DataLoader(dataset, options.batch, shuffle=True, num_workers=options.workers)
    )
    model.train().to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )

    # Like Fabric's mixed precision: weights and loss stay in float32.
    reduced = functools.partial(
        torch.autocast, device.type, torch.bfloat16, options.precision is TrainingPrecision.BF16
    )

    def step() -> None:
        batch = {name: values.to(device) for name, values in next(batches).items()}
        optimizer.zero_grad()
        with reduced():
            logits = model(batch["hiera"], batch["dino"])
        losses = [published_loss(one.float(), batch["mask"]) for one in logits]
        (0.25 * losses[0] + 0.5 * losses[1] + losses[2]).backward()
        optimizer.step()

    return step


def our_step(model: DSUNet, options: TrainingOptions, data: TrainingData) -> Step:
    """The loop of `dsunet train`, with the cache if the options name one."""
    fabric = make_fabric(options)
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    cache = extract_features(fabric, options, model, data, ProgressReport())
    sides = dict(model.config.input_sizes)
    if cache is not None:
        model.dino = None
        del sides["dino"]
    if options.checkpointing:
        recompute_blocks(model)
    stepper = Stepper(fabric, options, TrainingNetwork(model, options))
    plan = BatchPlan(len(data.pairs), options.batch, options.seed)
    samples = Samples(data.pairs, sides, seed=0, maps=cache.read if cache else None)
    keys = [step for epoch in range(1000) for step in plan.steps(epoch)]
    parts = iter(
        DataLoader(
            samples,
            batch_sampler=plan.parts_from(0, 0, 1000),
            num_workers=options.workers,
            pin_memory=fabric.device.type == "cuda",
        )
    )
    numbers = iter(keys)
    return lambda: (stepper.step(parts, next(numbers), options.lr), None)[1]


def trainable(config: DSUNetConfig) -> DSUNet:
    """Create a model with randomly initialised weights and frozen encoders."""
    model = random_model(config)
    freeze_encoders(model)
    return model


def measure_speed(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure seconds per step for each loop, and of filling the cache."""
    options = run_options(arguments, folder)
    cached = run_options(arguments, folder, cache=folder / "cache")
    data = find_training_data(options)
    config = config_of(arguments)
    start = time.perf_counter()
    extract_features(make_fabric(cached), cached, trainable(config), data, ProgressReport())
    filling = time.perf_counter() - start

    steps = {
        "published": published_step(trainable(config), options, data),
        "ours": our_step(trainable(config), options, data),
        "ours_cached": our_step(trainable(config), cached, data),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for counted in range(-1, arguments.rounds):
        order = [*times][counted % 3 :] + [*times][: counted % 3]
        for name in order:
            synchronize()
            start = time.perf_counter()
            for _ in range(arguments.steps):
                steps[name]()
            synchronize()
            if counted >= 0:
                times[name].append((time.perf_counter() - start) / arguments.steps)
    images = {name: arguments.batch / summary(t)["median_s"] for name, t in times.items()}
    for name, rate in images.items():
        print(f"{name:12}{rate:8.2f} images/s")
    return {
        "step": summaries(times),
        "images_per_s": images,
        "ours_over_published": ratio(times["ours"], times["published"]),
        "cached_over_published": ratio(times["ours_cached"], times["published"]),
        "cached_over_ours": ratio(times["ours_cached"], times["ours"]),
        "filling_s_per_image": filling / len(data.pairs),
    }


def measure_memory(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Measure the peak memory of a few steps in this process."""
    options = run_options(arguments, folder, checkpointing=arguments.variant == "checkpointing")
    step = our_step(trainable(config_of(arguments)), options, find_training_data(options))
    for _ in range(2):
        step()
    if options.device.resolve().type == "cuda":
        return {"peak_gb": torch.cuda.max_memory_allocated() / 1e9}
    return {"peak_gb": peak_bytes() / 1e9}


def run_options(arguments: argparse.Namespace, folder: Path, **changes: Any) -> TrainingOptions:
    return TrainingOptions(
        output=folder / "run",
        images=folder / "data" / "Image",
        masks=folder / "data" / "Mask",
        batch=arguments.batch,
        workers=arguments.workers,
        device=TorchDevice(arguments.device),
        precision=TrainingPrecision(arguments.precision),
        **changes,
    )


def config_of(arguments: argparse.Namespace) -> DSUNetConfig:
    return DSUNetConfig.preset(arguments.preset)


def main() -> None:
    parser = make_parser(__doc__)
    add_preset_option(parser, "tiny")
    parser.add_argument(
        "--batch", type=int, default=8, help="Number of images per step (default: %(default)s)."
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=3,
        help="Number of steps per loop and round (default: %(default)s).",
    )
    add_rounds_option(parser, 5)
    parser.add_argument(
        "--images", type=int, default=32, help="Number of synthetic scenes (default: %(default)s)."
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="Processes that decode images (default: %(default)s).",
    )
    parser.add_argument(
        "--device",
        choices=list(TorchDevice),
        default=TorchDevice.AUTO,
        help="Device that trains (default: %(default)s).",
    )
    parser.add_argument(
        "--precision",
        choices=(TrainingPrecision.FP32, TrainingPrecision.BF16),
        default=TrainingPrecision.FP32,
        help="Precision of the training (default: %(default)s).",
    )
    parser.add_argument(
        "--variant",
        choices=("plain", "checkpointing"),
        help="Internal: measure the memory of one variant.",
    )
    parser.add_argument("--data", type=Path, help="Internal: data folder for --variant.")
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure_memory(arguments, arguments.data)))
        return

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_scenes(folder / "data", arguments.images, seed=0)
        result = {**circumstances(arguments), **measure_speed(arguments, folder), "memory": {}}
        name = f"training_{TorchDevice(arguments.device).resolve().type}_{arguments.preset}"
        write(name, result)
        for variant in ("plain", "checkpointing"):
            result["memory"][variant] = in_new_process(
                __file__, *sys.argv[1:], "--variant", variant, "--data", folder
            )
            print(variant, result["memory"][variant])
            write(name, result)


def circumstances(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options and the device, for the result file."""
    asked = {name: getattr(arguments, name) for name in ("preset", "precision", "batch", "steps")}
    device = TorchDevice(arguments.device).resolve()
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    threads = torch.get_num_threads()
    return {**asked, "device": where, "threads": threads, "workers": arguments.workers}


if __name__ == "__main__":
    main()
