"""Write an initial checkpoint of `pico` with weights of a checkpoint of `nano`.

Encoders and injection have the same widths.  The decoder has half the channels: it keeps those
whose weights have the largest norms, added up over all tensors of the decoder.  DINOv2's position
embeddings are resampled.  docs/distillation.md has the results.
"""

from __future__ import annotations

from pathlib import Path

import torch
from common import make_parser
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from dsunet import DSUNetConfig, demonstration_checkpoint, load_model, save_model
from dsunet.network.model import DSUNet

STUDENT = "pico"
_POSITIONS = "dino.vit.pos_embed"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--teacher",
        type=Path,
        default=demonstration_checkpoint(),
        help="Checkpoint of `nano` (default: the demonstration checkpoint).",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="Checkpoint to write.")
    arguments = parser.parse_args()
    save_model(make_student(load_model(arguments.teacher)), arguments.output)


def make_student(teacher: DSUNet) -> DSUNet:
    """Create the student with the selected weights of its teacher."""
    student = DSUNet(DSUNetConfig.preset(STUDENT))
    theirs, own = teacher.state_dict(), student.state_dict()
    old, new = teacher.config.dino.map_size, student.config.dino.map_size
    theirs[_POSITIONS] = resample_abs_pos_embed(theirs[_POSITIONS], [new, new], [old, old])
    kept = {}
    for name in ("decoder_channels", "attention_channels"):
        width, count = getattr(teacher.config, name), getattr(student.config, name)
        kept[width] = strongest(theirs, own, width, count)
    state = {key: narrowed(tensor, own[key], kept) for key, tensor in theirs.items()}
    student.load_state_dict(state)
    return student


def narrowed(tensor: Tensor, like: Tensor, kept: dict[int, Tensor]) -> Tensor:
    """Keep some channels, by the width of their map, in each dimension in which `like` is smaller.

    A dimension may be several maps, one after the other.
    """
    for dim, (old, new) in enumerate(zip(tensor.shape, like.shape, strict=True)):
        if old != new:
            width = max(width for width in kept if old % width == 0)
            maps, channels = torch.arange(0, old, width)[:, None], kept[width]
            tensor = tensor.index_select(dim, (maps + channels).flatten())
    return tensor


def strongest(theirs: dict[str, Tensor], own: dict[str, Tensor], width: int, count: int) -> Tensor:
    """Indices of the `count` of `width` channels with the largest norms, in ascending order."""
    total = torch.zeros(width)
    for key, tensor in theirs.items():
        if tensor.dim() == 4 and (tensor.shape[0], own[key].shape[0]) == (width, count):
            norms = tensor.flatten(1).norm(dim=1)
            total += norms / norms.sum()
    return total.topk(count).indices.sort().values


if __name__ == "__main__":
    main()
