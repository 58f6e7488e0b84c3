"""Time per branch of the network on a GPU, compared with the peak of the GPU.

Ceilings: a float16 matmul of 8192×8192 random values, and a copy of 512 MiB, both by PyTorch.
Branches: the top-level modules of the model of `gpu_batches.py`, eager and compiled, timed by CUDA
events, which includes waiting for launches; the largest loss against the ceiling comes first.
Kernels: the slowest kernels by PyTorch's profiler, with their fraction of the time of all kernels.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from common import write
from exports import new_model
from gpu_calls import machine_parser, open_device, synchronize
from gpu_ceiling import add_side_option, measure_ceiling
from gpu_compiled import attention_times, compiled, parts
from gpu_frames import Frames, make_frames
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dsunet_export.macs import run_on_meta
from dsunet_runtime.bench.roofline.branches import branch_of
from dsunet_runtime.bench.roofline.ceiling import Ceiling


def main() -> None:
    parser = machine_parser(__doc__)
    parser.add_argument(
        "--batch", type=int, default=8, help="Number of images per call (default: %(default)s)."
    )
    parser.add_argument(
        "--repeats", type=int, default=10, help="Number of timed calls (default: %(default)s)."
    )
    add_side_option(parser)
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    ceiling = measure_ceiling(arguments.device, arguments.side)
    print(f"{ceiling.macs_per_second / 1e12:.1f} T multiply-adds/s by a {ceiling.matmul}")
    print(f"{ceiling.bytes_per_second / 1e9:.0f} GB/s by a {ceiling.copy}", flush=True)
    found: dict[str, Any] = {
        "preset": arguments.preset,
        "batch": arguments.batch,
        "ceiling": dataclasses.asdict(ceiling),
        "branches": {},
        "kernels": {},
    }
    image = make_frames(arguments.batch).to(arguments.device)
    for variant in ("eager", "compiled"):
        frames = Frames(new_model(arguments.preset), torch.float16).eval().to(arguments.device)
        macs = count_macs(frames, image)
        call: Callable[..., Any] = frames
        if variant == "compiled":
            attention = attention_times(frames.model, arguments.batch, arguments.device)
            call = compiled(frames, next(iter(attention), None))
        seconds = time_branches(frames, call, image, arguments.repeats)
        found["branches"][variant] = losses(seconds, macs, ceiling)
        print(variant, found["branches"][variant], flush=True)
        found["kernels"][variant] = longest_kernels(call, image)
        write("gpu_branches", found, gpu)


def watch_parts(frames: Frames, stamp: Callable[[], Any]) -> dict[str, list[tuple[Any, Any]]]:
    """Record the results of `stamp` before and after each call of a part, by branch."""
    seen: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    begun: dict[str, Any] = {}
    for name, module in parts(frames):
        branch = branch_of(f"{name}.")
        assert branch is not None, name
        module.register_forward_pre_hook(
            lambda *_, name=name: begun.__setitem__(name, stamp())  # type: ignore[misc]
        )
        module.register_forward_hook(
            lambda *_, name=name, branch=branch: seen[branch].append((begun[name], stamp()))  # type: ignore[misc]
        )
    return seen


def count_macs(frames: Frames, image: Tensor) -> dict[str, int]:
    """Count the multiply-adds of each branch by shapes, which covers attention on any device."""
    with FlopCounterMode(display=False) as counter:
        seen = watch_parts(frames, counter.get_total_flops)
        run_on_meta(frames, {"image": image})
    found = {branch: sum(b - a for a, b in pairs) // 2 for branch, pairs in seen.items()}
    for _, module in parts(frames):
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
    return found


@torch.inference_mode()
def time_branches(
    frames: Frames, call: Callable[..., Any], image: Tensor, repeats: int
) -> dict[str, float]:
    """Return the median seconds of each branch and of the whole call; branches run one by one.

    `call` is what calls `frames`.
    """
    cuda = image.is_cuda

    def stamp() -> Any:
        if not cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(pair: tuple[Any, Any]) -> float:
        return pair[0].elapsed_time(pair[1]) / 1000 if cuda else pair[1] - pair[0]

    seen = watch_parts(frames, stamp)
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(repeats + 3):
        seen.clear()
        start = stamp()
        call(image=image)
        whole = (start, stamp())
        synchronize()
        if number >= 3:
            found["all"].append(between(whole))
            for branch, pairs in seen.items():
                found[branch].append(sum(map(between, pairs)))
    return {branch: statistics.median(seconds) for branch, seconds in found.items()}


@torch.inference_mode()
def longest_kernels(call: Callable[..., Any], image: Tensor, most: int = 30) -> list[list[Any]]:
    """Return name, launches, seconds and fraction of the kernels of a call; empty on a CPU."""
    if not image.is_cuda:
        return []
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call(image=image)
        synchronize()
    events = [one for one in profile.key_averages() if one.self_device_time_total > 0]
    events.sort(key=lambda one: -one.self_device_time_total)
    whole = sum(one.self_device_time_total for one in events)
    return [
        [
            one.key[:200],
            one.count,
            one.self_device_time_total / 1e6,
            one.self_device_time_total / whole,
        ]
        for one in events[:most]
    ]


def losses(
    seconds: dict[str, float], macs: dict[str, int], ceiling: Ceiling
) -> dict[str, dict[str, float]]:
    """Return time and minimum time per branch, the largest loss first, the whole call last."""
    counts = {**macs, "all": sum(macs.values())}
    found = {}
    for branch, taken in seconds.items():
        least = ceiling.ideal(counts[branch], 0)
        found[str(branch)] = {
            "seconds": taken,
            "macs": counts[branch],
            "fraction_of_ceiling": least / taken,
            "lost_seconds": taken - least,
        }
    ordered = sorted(found, key=lambda name: (name == "all", -found[name]["lost_seconds"]))
    return {name: found[name] for name in ordered}


if __name__ == "__main__":
    main()
