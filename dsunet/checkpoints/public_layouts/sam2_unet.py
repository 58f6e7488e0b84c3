"""The key names of SAM2-UNet's published code."""

from __future__ import annotations

from dsunet.checkpoints.public_layouts.layout import HEAD_KEYS, RFB_KEYS, PublicLayout, hiera_keys

SAM2_UNET = PublicLayout(
    network="SAM2-UNet",
    marker=r"up\d\.conv\.double_conv\.",
    parts=(
        *hiera_keys("encoder."),
        *RFB_KEYS,
        (r"unet\.(\d)\.convs\.0\.0\.0\.", r"up<\1>.conv.double_conv.0."),
        (r"unet\.(\d)\.convs\.0\.0\.1\.", r"up<\1>.conv.double_conv.1."),
        (r"unet\.(\d)\.convs\.1\.0\.0\.", r"up<\1>.conv.double_conv.3."),
        (r"unet\.(\d)\.convs\.1\.0\.1\.", r"up<\1>.conv.double_conv.4."),
        *HEAD_KEYS,
    ),
    unused=("up4.",),  # a fourth stage, without a map to merge
)
