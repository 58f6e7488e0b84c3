"""The key names of DSU-Net's published code."""

from __future__ import annotations

from dsunet.checkpoints.public_layouts.layout import HEAD_KEYS, RFB_KEYS, PublicLayout, hiera_keys

DSU_NET = PublicLayout(
    network="DSU-Net",
    marker=r"backbone_sam\.",
    parts=(
        *hiera_keys("backbone_sam.sam_encoder."),
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
        *RFB_KEYS,
        (r"sff\.(\d)\.(small|big)\.0\.", r"decoder<\1>.conv_\2."),
        (r"sff\.(\d)\.merge\.0\.", r"decoder<\1>.catconv."),
        (r"sff\.(\d)\.(value|out)\.0\.", r"decoder<\1>.attention.\2_project."),
        (r"sff\.(\d)\.(query|key)\.0\.0\.", r"decoder<\1>.attention.\2_project."),
        (r"sff\.(\d)\.(query|key)\.1\.0\.", r"decoder<\1>.attention.\2_project.3."),
        *HEAD_KEYS,
    ),
    unused=("backbone_dino.dino_encoder.mask_token",),  # of DINOv2's pretraining
    haar_filters=(
        "dino2sam_down14.depthwise.wt_filter",
        "dino2sam_down14.depthwise.iwt_filter",
    ),
)
