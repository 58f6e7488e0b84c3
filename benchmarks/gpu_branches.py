"""What the GPU reaches at best, what share of that each way reaches, and where the time goes.

Ceilings: a matrix product of 8192×8192 in float16 on random numbers, and a copy of 512 MiB, both
by PyTorch.  Shares: of the matrix ceiling, from the files of `gpu_batches.py` and `gpu_rtx.py` that
lie where this one is written.  Branches: `gpu_batches.py`'s model with every outermost module timed
by events, eager and with each of them compiled; what loses most against the matrix ceiling comes
first.  **Not run on a GPU yet.**
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from common import write
from exporting import new_model
from gpu_calls import AUTOTUNED, add_machine, open_device, synchronize
from gpu_ceiling import measure_ceiling, shares
from gpu_frames import Frames, make_frames
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dsunet_export.tracing import run_on_meta
from dsunet_runtime.bench.roofline.branches import branch_of
from dsunet_runtime.bench.roofline.ceiling import Ceiling

GOAL = 0.5
"""Share of the matrix ceiling at batch 8, for the best way."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_machine(parser)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--side", type=int, default=8192, help="Of the matrices (%(default)s).")
    arguments = parser.parse_args()
    gpu = open_device(arguments.device)
    ceiling = measure_ceiling(arguments.device, arguments.side)
    print(f"{ceiling.macs_per_second / 1e12:.1f} T multiply-adds/s by a {ceiling.product}")
    print(f"{ceiling.bytes_per_second / 1e9:.0f} GB/s by a {ceiling.copy}", flush=True)
    found: dict[str, Any] = {
        "preset": arguments.preset,
        "batch": arguments.batch,
        "ceiling": {
            "macs_per_second": ceiling.macs_per_second,
            "bytes_per_second": ceiling.bytes_per_second,
            "product": ceiling.product,
            "copy": ceiling.copy,
        },
        "goal": GOAL,
        "shares": shares(ceiling),
        "branches": {},
    }
    image = make_frames(arguments.batch).to(arguments.device)
    for way in ("eager", "compiled"):
        frames = Frames(new_model(arguments.preset), torch.float16).eval().to(arguments.device)
        macs = count_macs(frames, image)
        if way == "compiled":
            compile_parts(frames)
        seconds = time_branches(frames, image, arguments.repeats)
        found["branches"][way] = losses(seconds, macs, ceiling)
        print(way, found["branches"][way], flush=True)
        write("gpu_branches", found, gpu)


def parts(frames: Frames) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that are called, by name."""
    network = frames.model
    yield "preprocess", frames.preprocess
    for name, module in network.named_children():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            yield from ((f"{name}.{key}", child) for key, child in module.named_children())
        else:
            yield name, module
    yield "postprocess", frames.postprocess


def compile_parts(frames: Frames) -> None:
    """Put in the place of each part what `torch.compile` makes of it."""
    for name, module in [*parts(frames)]:
        owner: nn.Module = frames if hasattr(frames, name) else frames.model
        *folder, leaf = name.split(".")
        owner = owner.get_submodule(".".join(folder))
        owner._modules[leaf] = torch.compile(module, mode=AUTOTUNED, dynamic=False)  # type: ignore[assignment]


def watch_parts(frames: Frames, stamp: Callable[[], Any]) -> dict[str, list[tuple[Any, Any]]]:
    """What `stamp` gives before and after each call of a part, by branch, from now on."""
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
    """Multiply-adds of each branch, counted on shapes: attention is then counted on any device."""
    with FlopCounterMode(display=False) as counter:
        seen = watch_parts(frames, counter.get_total_flops)
        run_on_meta(frames, {"image": image})
    found = {branch: sum(b - a for a, b in pairs) // 2 for branch, pairs in seen.items()}
    for _, module in parts(frames):
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
    return found


@torch.inference_mode()
def time_branches(frames: Frames, image: Tensor, repeats: int) -> dict[str, float]:
    """Seconds of each branch and of the whole call, medians; one part waits for the one before."""
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
        frames(image)
        whole = (start, stamp())
        synchronize()
        if number >= 3:
            found["all"].append(between(whole))
            for branch, pairs in seen.items():
                found[branch].append(sum(map(between, pairs)))
    return {branch: statistics.median(seconds) for branch, seconds in found.items()}


def losses(
    seconds: dict[str, float], macs: dict[str, int], ceiling: Ceiling
) -> dict[str, dict[str, float]]:
    """What each branch takes and could take, the largest loss first; the whole call at the end."""
    counts = {**macs, "all": sum(macs.values())}
    found = {}
    for branch, taken in seconds.items():
        least = ceiling.ideal(counts[branch], 0)
        found[str(branch)] = {
            "seconds": taken,
            "macs": counts[branch],
            "share_of_ceiling": least / taken,
            "lost_seconds": taken - least,
        }
    ordered = sorted(found, key=lambda name: (name == "all", -found[name]["lost_seconds"]))
    return {name: found[name] for name in ordered}


if __name__ == "__main__":
    main()
