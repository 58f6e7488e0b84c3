"""Exact rewrites of a DSUNet for deployment: the same function with less computation.

Each rewrite changes the plain model in place, and a test compares the result with the plain model.
A rewrite has one name: `fold_scales` is the function and its module, `fold-scales` its key in the
manifest.

fold_positions        Hiera's position embedding as a constant
fold_scales           scales after linear operations, folded into their weights
pad_after_projection  window attention that pads after the projections instead of before
drop_unread_tokens    DINOv2's last block, only for the tokens that are read
explicit_attention    attention written out as softmax(q kᵀ) v
sff_on_tokens         SFF's attention on a token sequence
"""

from __future__ import annotations

from collections.abc import Callable

from dsunet.network.model import DSUNet
from dsunet_export.rewrites.drop_unread_tokens import drop_unread_tokens
from dsunet_export.rewrites.explicit_attention import explicit_attention
from dsunet_export.rewrites.fold_positions import fold_positions
from dsunet_export.rewrites.fold_scales import fold_scales
from dsunet_export.rewrites.pad_after_projection import pad_after_projection
from dsunet_export.rewrites.sff_on_tokens import sff_on_tokens

REWRITES: dict[str, Callable[[DSUNet], None]] = {
    "fold-positions": fold_positions,
    "fold-scales": fold_scales,
    "pad-after-projection": pad_after_projection,
    "drop-unread-tokens": drop_unread_tokens,
    "explicit-attention": explicit_attention,
    "sff-on-tokens": sff_on_tokens,
}
"""The rewrites by key, in the order of application: blocks are replaced before their parts."""
