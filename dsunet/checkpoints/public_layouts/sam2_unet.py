"""The key names of SAM2-UNet's published code."""

from __future__ import annotations

from dsunet.checkpoints.public_layouts.layout import HEADS, RFB, PublicLayout, hiera_with_adapters

SAM2_UNET = PublicLayout(
    network="SAM2-UNet",
    marker=r"up\d\.conv\.double_conv\.",
    parts=(
        *hiera_with_adapters("encoder."),
        *RFB,
        (r"unet\.(\d)\.convs\.0\.0\.0\.", r"up<\1>.conv.double_conv.0."),
        (r"unet\.(\d)\.convs\.0\.0\.1\.", r"up<\1>.conv.double_conv.1."),
        (r"unet\.(\d)\.convs\.1\.0\.0\.", r"up<\1>.conv.double_conv.3."),
        (r"unet\.(\d)\.convs\.1\.0\.1\.", r"up<\1>.conv.double_conv.4."),
        *HEADS,
    ),
    unused=("up4.",),  # a fourth stage, without a map to merge
)
