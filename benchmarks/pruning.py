"""Accuracy of a checkpoint with parts of its encoders removed, without training afterwards.

Whole blocks of DINOv2 are removed: the last k, or every second.  Attention heads of DINOv2 and
hidden units of the MLPs of both encoders are removed by magnitude: in each block, those with the
smallest product of the norms of their input and output weights.  Parts are removed, not set to
zero, so that the multiply-adds are those of the smaller network.  Every variant is evaluated on the
same held-out synthetic scenes.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from common import make_parser, write
from torch import Tensor, nn

from dsunet import checkpoint_sha256, demonstration_checkpoint, load_model
from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.data.pairs import find_pairs
from dsunet.evaluation.metrics import summarize
from dsunet.evaluation.pair_scores import mean_s_measure, score_pairs
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.network.model import DSUNet
from dsunet.scenes import write_scenes
from dsunet_export.macs import count_macs

SCENES, SEED = 200, 2
KEPT_HIDDEN = (0.75, 0.5, 0.25)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=demonstration_checkpoint(),
        help="Checkpoint to prune (default: the demonstration checkpoint).",
    )
    arguments = parser.parse_args()
    model = load_model(arguments.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder) / "scenes", SCENES, SEED)
        pairs = find_pairs(*find_dataset_folders(Path(folder) / "scenes", Split.TEST)).pairs
        found = {}
        for name, prune in variants(model):
            pruned = copy.deepcopy(model)
            prune(pruned)
            scores = score_pairs(TorchPredictor(pruned, refuse_constant=False), pairs)
            found[name] = {
                "macs": count_macs(pruned),
                "s_measure": mean_s_measure(scores),
                "mae": summarize(scores).mae,
            }
            print(name, found[name], flush=True)
    write(
        "pruning",
        {
            "checkpoint_sha256": checkpoint_sha256(arguments.checkpoint),
            "scenes": SCENES,
            "seed": SEED,
            "variants": found,
        },
    )


def variants(model: DSUNet) -> Iterator[tuple[str, Callable[[DSUNet], None]]]:
    """Yield the name of each variant and its function on a model, the whole model first."""
    depth, heads = model.config.dino.depth, model.config.dino.num_heads
    yield "whole", lambda _: None
    for count in range(1, depth):
        removed = range(depth - count, depth)
        yield f"DINOv2 without the last {count}", without_blocks(removed)
    yield "DINOv2 without blocks 1, 3, …", without_blocks(range(0, depth, 2))
    yield "DINOv2 without blocks 2, 4, …", without_blocks(range(1, depth, 2))
    for kept in range(heads - 1, 0, -1):
        yield f"DINOv2, {kept} of {heads} heads", with_heads(kept)
    for part in KEPT_HIDDEN:
        yield f"DINOv2, {part:.0%} of the MLPs", with_hidden("dino", part)
    for part in KEPT_HIDDEN:
        yield f"Hiera, {part:.0%} of the MLPs", with_hidden("hiera", part)


def without_blocks(removed: range) -> Callable[[DSUNet], None]:
    """Remove blocks of DINOv2, numbered from 0."""

    def prune(model: DSUNet) -> None:
        for number in removed:
            dino_blocks(model)[number] = nn.Identity()

    return prune


def with_heads(count: int) -> Callable[[DSUNet], None]:
    """Keep `count` attention heads in each block of DINOv2."""

    def prune(model: DSUNet) -> None:
        for block in dino_blocks(model):
            keep_heads(block.attn, count)

    return prune


def with_hidden(encoder: str, part: float) -> Callable[[DSUNet], None]:
    """Keep a part of the hidden units of each MLP of an encoder."""

    def prune(model: DSUNet) -> None:
        for block in dino_blocks(model) if encoder == "dino" else model.hiera.trunk.blocks:
            mlp: Any = block.mlp
            first, last = (mlp.fc1, mlp.fc2) if encoder == "dino" else mlp.layers
            norms = first.weight.norm(dim=1) * last.weight.norm(dim=0)
            kept = largest(norms, round(part * len(norms)))
            keep_rows(first, kept)
            keep_columns(last, kept)

    return prune


def keep_heads(attention: Any, count: int) -> None:
    """Keep the heads with the largest norm of the values' weights times that of the output's."""
    heads, width = attention.num_heads, attention.head_dim
    values = attention.qkv.weight.chunk(3)[2].unflatten(0, (heads, width))
    outputs = attention.proj.weight.unflatten(1, (heads, width))
    kept = largest(values.norm(dim=(1, 2)) * outputs.norm(dim=(0, 2)), count)
    channels = (kept[:, None] * width + torch.arange(width)).flatten()
    whole = heads * width
    keep_rows(attention.qkv, torch.cat([part * whole + channels for part in range(3)]))
    keep_columns(attention.proj, channels)
    attention.num_heads, attention.attn_dim = count, count * width


def largest(norms: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest, in ascending order."""
    return norms.topk(count).indices.sort().values


def keep_rows(linear: nn.Linear, kept: Tensor) -> None:
    """Keep some outputs of a linear layer."""
    linear.weight = nn.Parameter(linear.weight[kept].detach())
    linear.bias = nn.Parameter(linear.bias[kept].detach())


def keep_columns(linear: nn.Linear, kept: Tensor) -> None:
    """Keep some inputs of a linear layer."""
    linear.weight = nn.Parameter(linear.weight[:, kept].detach())


def dino_blocks(model: DSUNet) -> Any:
    """DINOv2's blocks."""
    assert model.dino is not None
    return model.dino.vit.blocks


if __name__ == "__main__":
    main()
