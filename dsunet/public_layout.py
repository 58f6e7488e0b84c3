"""Translation of dsunet's keys to those of the paper's published code."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PARTS: tuple[tuple[str, str], ...] = (
    (r"hiera\.trunk\.blocks\.(\d+)\.", r"backbone_sam.sam_encoder.blocks.\1.block."),
    (r"hiera\.trunk\.", r"backbone_sam.sam_encoder."),
    (r"hiera\.adapters\.(\d+)\.down\.", r"backbone_sam.sam_encoder.blocks.\1.prompt_learn.0."),
    (r"hiera\.adapters\.(\d+)\.up\.", r"backbone_sam.sam_encoder.blocks.\1.prompt_learn.2."),
    (r"dino\.vit\.", r"backbone_dino.dino_encoder."),
    (
        r"inject\.3\.wavelet\.depthwise\.subband_scale\.",
        r"dino2sam_down14.depthwise.wavelet_scale.0.",
    ),
    (
        r"inject\.3\.wavelet\.depthwise\.subband_conv\.",
        r"dino2sam_down14.depthwise.wavelet_convs.0.",
    ),
    (r"inject\.3\.wavelet\.norm\.", r"dino2sam_down14.bn."),
    (r"inject\.3\.wavelet\.", r"dino2sam_down14."),
    (r"inject\.3\.cga\.channel_attention\.", r"fusion4.ca.ca."),
    (r"inject\.3\.cga\.spatial_attention\.", r"fusion4.sa.sa."),
    (r"inject\.3\.cga\.pixel_attention\.", r"fusion4.pa.pa2."),
    (r"inject\.3\.cga\.project\.", r"fusion4.conv."),
    (r"rfb\.(\d)\.branches\.0\.(\d)\.", r"rfb<\1>.branch0.0.[\2]."),
    (r"rfb\.(\d)\.branches\.(\d)\.(\d)\.(\d)\.", r"rfb<\1>.branch\2.\3.[\4]."),
    (r"rfb\.(\d)\.merge\.(\d)\.", r"rfb<\1>.conv_cat.[\2]."),
    (r"rfb\.(\d)\.shortcut\.(\d)\.", r"rfb<\1>.conv_res.[\2]."),
    (r"sff\.(\d)\.(small|big)\.0\.", r"decoder<\1>.conv_\2."),
    (r"sff\.(\d)\.merge\.0\.", r"decoder<\1>.catconv."),
    (r"sff\.(\d)\.(value|out)\.0\.", r"decoder<\1>.attention.\2_project."),
    (r"sff\.(\d)\.(query|key)\.0\.0\.", r"decoder<\1>.attention.\2_project."),
    (r"sff\.(\d)\.(query|key)\.1\.0\.", r"decoder<\1>.attention.\2_project.3."),
    (r"heads\.0\.", r"side1."),
    (r"heads\.1\.", r"side2."),
    (r"heads\.2\.", r"head."),
)
"""Prefixes of dsunet and of the published code; the first match is used.  `<n>` counts from 1 in
the published code and from 0 in dsunet.  `[n]` is an index into a pair of convolution and batch
norm, which the published code names `conv` and `bn`."""

HAAR_KEYS = ("dino2sam_down14.depthwise.wt_filter", "dino2sam_down14.depthwise.iwt_filter")
"""Keys of the Haar filters, which are constants in dsunet: they must equal `WTConv.filters`."""

MASK_TOKEN_KEY = "backbone_dino.dino_encoder.mask_token"
"""Key of the mask token of DINOv2's pretraining, which DSU-Net does not use."""


def is_public_layout(keys: Iterable[str]) -> bool:
    """Whether the keys are those of the paper's published code."""
    return any(key.startswith("backbone_sam.") for key in keys)


def public_key(key: str) -> str:
    """Translate a key of dsunet to the published code's.  Raises KeyError if there is none."""
    for ours, theirs in _PARTS:
        renamed, count = re.subn("^" + ours, theirs, key)
        if count:
            renamed = re.sub(r"<(\d)>", lambda m: str(int(m[1]) + 1), renamed)
            return re.sub(r"\[(\d)\]", lambda m: ("conv", "bn")[int(m[1])], renamed)
    raise KeyError(key)
