"""Checkpoints of published code: a module for each network, with the names of its keys.

layout     PublicLayout, from the names of a checkpoint's keys to dsunet's
dsu_net    those of DSU-Net
sam2_unet  those of SAM2-UNet
"""

from __future__ import annotations

from collections.abc import Iterable

from dsunet.checkpoints.public_layouts.dsu_net import DSU_NET
from dsunet.checkpoints.public_layouts.layout import PublicLayout
from dsunet.checkpoints.public_layouts.sam2_unet import SAM2_UNET

__all__ = ["DSU_NET", "PUBLIC_LAYOUTS", "SAM2_UNET", "PublicLayout", "find_public_layout"]

PUBLIC_LAYOUTS = (DSU_NET, SAM2_UNET)


def find_public_layout(keys: Iterable[str]) -> PublicLayout | None:
    """The layout of a file's keys; None if they are dsunet's own."""
    keys = list(keys)
    return next((layout for layout in PUBLIC_LAYOUTS if layout.is_of(keys)), None)
