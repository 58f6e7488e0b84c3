"""From HDR video to SDR: PQ and HLG to sRGB.

    signal → linear light in BT.2020, 1 = reference white → BT.709 → shoulder → sRGB, 8 bits

Reference white is 203 cd/m² (ITU-R BT.2408), which is the white of SDR.  Values up to 0.75 of it
keep their ratios; brighter ones are compressed, so that 1000 cd/m² and all above are white.
Colours outside BT.709 are clipped.
"""

from __future__ import annotations

import enum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WHITE = 203.0
"""Reference white in cd/m²."""
_PEAK = 1000.0
"""The luminance that becomes white, and the nominal peak of HLG, in cd/m²."""
_KNEE = 0.75
_DROPPED = 6
"""Lower bits of a 16-bit signal that are ignored."""
_FULL_SIGNAL = 255 << 8
"""The brightest signal in 16 bits, by libswscale."""
_STEPS = 8192
"""Entries of the table to sRGB for the light of reference white."""
_TO_709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ],
    np.float32,
)
"""From linear BT.2020 to linear BT.709 (ITU-R BT.2087)."""
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
_HLG_GAMMA = 1.2

Floats = NDArray[np.floating[Any]]


class Hdr(enum.Enum):
    """A transfer characteristic of HDR video; the values are those of ISO/IEC 23091-2."""

    PQ = 16
    HLG = 18


def sdr_from_hdr(signal: NDArray[np.uint16], transfer: Hdr) -> NDArray[np.uint8]:
    """Convert RGB in BT.2020, uint16, H×W×3, 0 to 65280, to 8-bit sRGB, H×W×3."""
    light = _linear(transfer)[signal >> _DROPPED]
    if transfer is Hdr.HLG:  # HLG's system gamma, by the luminance of the scene
        light *= ((light @ _LUMINANCE) ** (_HLG_GAMMA - 1))[..., None]
        light *= _PEAK / _WHITE
    light = light @ _TO_709.T
    table = _to_srgb()
    light *= _STEPS
    levels: NDArray[np.uint8] = table[light.clip(0, len(table) - 1, out=light).astype(np.int32)]
    return levels


@cache
def _linear(transfer: Hdr) -> NDArray[np.float32]:
    """Linear light by the upper bits of a signal: display light for PQ, scene light for HLG."""
    step = 1 << _DROPPED
    signal = np.minimum((np.arange(0, 1 << 16, step) + step / 2) / _FULL_SIGNAL, 1)
    return (_pq(signal) / _WHITE if transfer is Hdr.PQ else _hlg(signal)).astype(np.float32)


def _pq(signal: Floats) -> Floats:
    """SMPTE ST 2084: signal to cd/m²."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def _hlg(signal: Floats) -> Floats:
    """ARIB STD-B67: signal to scene light, 0 to 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


@cache
def _to_srgb() -> NDArray[np.uint8]:
    """Levels for light from 0 to the peak, in steps of 1/8192 of reference white."""
    light = np.arange(int(_STEPS * _PEAK / _WHITE) + 1) / _STEPS
    # A hyperbola that leaves the knee with slope 1 and reaches 1 at the peak.
    above, room, reach = np.maximum(light - _KNEE, 0), 1 - _KNEE, _PEAK / _WHITE - _KNEE
    bend = 1 / room - 1 / reach
    shown = np.where(light > _KNEE, _KNEE + above / (1 + above * bend), light)
    encoded = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)
