"""Exact rewrites of a DSUNet for deployment: the same function, less work.

Each takes the plain model and changes it in place.  They stand outside the model, and each has a
test that puts it beside the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsunet.model import DSUNet
from dsunet_export.rewrites.explicit_attention import explicit_attention
from dsunet_export.rewrites.fold_positions import fold_positions
from dsunet_export.rewrites.fold_scales import fold_scales
from dsunet_export.rewrites.needed_tokens import drop_unread_tokens
from dsunet_export.rewrites.unpadded_windows import unpad_windows


@dataclass(frozen=True)
class ExactRewrite:
    """A change of a plain model in place, and whether it takes multiply-adds away."""

    apply: Callable[[DSUNet], None]
    saves_macs: bool
    """Where it saves none, it saves passes over memory, or nodes."""


REWRITES = {
    "fold-positions": ExactRewrite(fold_positions, saves_macs=False),
    "fold-scales": ExactRewrite(fold_scales, saves_macs=False),
    "unpadded-windows": ExactRewrite(unpad_windows, saves_macs=True),
    "needed-tokens": ExactRewrite(drop_unread_tokens, saves_macs=True),
    "explicit-attention": ExactRewrite(explicit_attention, saves_macs=False),
}
"""In the order in which they are applied: blocks are replaced before what is inside them."""
