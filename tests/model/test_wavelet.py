"""WTConv's transform against PyWavelets, an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F

from dsunet.network.wavelet import WaveletPath, WTConv, analysis_filters

SIZES = [(2, 2), (4, 6), (5, 5), (11, 11), (7, 8), (8, 7), (1, 3)]


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_every_tap_is_half_and_the_order_is_mean_rows_columns_both() -> None:
    textbook = torch.tensor(
        [
            [[1, 1], [1, 1]],
            [[1, 1], [-1, -1]],
            [[1, -1], [1, -1]],
            [[1, -1], [-1, 1]],
        ]
    )
    torch.testing.assert_close(analysis_filters(), textbook / 2)


@pytest.mark.parametrize("size", SIZES)
def test_subbands_are_pywavelets(size: tuple[int, int]) -> None:
    """Odd sizes: PyWavelets repeats the last row in mode `symmetric`; ours pads with zeros."""
    x = numbers(3, *size)
    padded = F.pad(x, (0, size[1] % 2, 0, size[0] % 2))
    mean, (rows, columns, both) = pywt.dwt2(padded.numpy(), "db1", mode="zero")
    filters = analysis_filters().unsqueeze(1)
    ours = F.conv2d(padded.unsqueeze(1), filters, stride=2).numpy()
    # PyWavelets' details are named after the other axis: its "horizontal" one differs along rows.
    for band, theirs in enumerate((mean, rows, columns, both)):
        np.testing.assert_allclose(ours[:, band], theirs, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_whole_layer_is_dwt_convolution_idwt(size: tuple[int, int]) -> None:
    channels = 3
    layer = WTConv(channels)
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.normal_(generator=torch.Generator().manual_seed(seed))
        x = numbers(2, channels, *size)
        ours = layer(x)
        padded = F.pad(x, (0, size[1] % 2, 0, size[0] % 2)).numpy()
        mean, details = pywt.dwt2(padded, "db1", mode="zero")
        bands = torch.from_numpy(np.stack((mean, *details), 2)).flatten(1, 2)
        bands = layer.subband_scale.weight * layer.subband_conv(bands)
        mean, *details = (bands.unflatten(1, (channels, 4))[:, :, k].numpy() for k in range(4))
        detail = pywt.idwt2((mean, tuple(details)), "db1", mode="zero")
        base = layer.base_scale.weight * layer.base_conv(x)
        expected = base + torch.from_numpy(detail[..., : size[0], : size[1]])
    assert ours.shape == x.shape
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_transform_inverts_itself(size: tuple[int, int]) -> None:
    """With sub-bands left as they are and no base convolution, nothing changes."""
    layer = WTConv(2)
    with torch.no_grad():
        layer.subband_conv.weight.zero_()
        layer.subband_conv.weight[:, :, 1, 1] = 1
        layer.subband_scale.weight.fill_(1)
        layer.base_scale.weight.zero_()
        x = numbers(1, 2, *size)
        torch.testing.assert_close(layer(x), x, atol=1e-6, rtol=1e-6)


def test_path_returns_the_requested_map() -> None:
    path = WaveletPath(8, 16, 5).eval()
    with torch.no_grad():
        out = path(numbers(2, 8, 16, 16))
    assert out.shape == (2, 16, 5, 5)
    assert out.min() >= 0


def test_filters_are_no_part_of_the_state() -> None:
    assert not [key for key in WTConv(2).state_dict() if "filters" in key]
