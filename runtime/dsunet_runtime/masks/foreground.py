"""Opacity of an object, and its colours without those of the background at soft edges.

At the edge of an object, a pixel's colour is a mixture of the object's and the background's.  Over
another background, such pixels form a halo.  The colours of the object alone are estimated by
Germer et al., "Fast Multi-Level Foreground Estimation" (2020), from PyMatting.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import reason

EXTRA = "cutout"

_TRANSPARENT, _OPAQUE = 13, 242
"""Mask levels of 5 and 95 %; the probabilities of whole backgrounds are often no lower."""

_MODULE = "pymatting.foreground.estimate_foreground_ml"

# The estimate reads no pixels of the image where alpha is 0, but continues the colours there.
_MARGIN = 2
_SMALLEST = 2

_one_at_a_time = threading.Lock()
"""Numba's default thread pool aborts the process if two threads enter it at once."""


def opacity(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the alpha of the object, H×W, 0 to 255, from its mask, H×W, 0 to 255.

    It is 0 up to a probability of 5 %, 255 from 95 %, and linear between these.  Without this, low
    probabilities would leave a haze around the object, and the new background would show through
    high ones.
    """
    levels = (np.arange(256) - _TRANSPARENT) * 255 / (_OPAQUE - _TRANSPARENT)
    table: NDArray[np.uint8] = np.clip(np.round(levels), 0, 255).astype(np.uint8)
    return table[mask]


def foreground(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Estimate the colours of the object.

    Args:
        rgb: Image, H×W×3, 0 to 255.
        alpha: Opacity of the object, H×W, 0 to 255.

    Returns:
        H×W×3, 0 to 255: the image's own colours where alpha is 255; black away from the object.

    Raises:
        MissingExtraError: PyMatting is not installed.
    """
    colours = np.zeros_like(rgb)
    soft = (alpha > 0) & (alpha < 255)
    if soft.any():
        box = _box(soft)
        colours[box] = _estimated(rgb[box], alpha[box])
    return np.where((alpha == 255)[..., None], rgb, colours)


def check_installed() -> None:
    """Raise MissingExtraError if the colours cannot be estimated."""
    with _one_at_a_time:
        _estimator()


def _box(soft: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return rows and columns of the bounding box of the soft pixels, with a margin."""
    rows, columns = (np.flatnonzero(soft.any(axis=axis)) for axis in (1, 0))
    return _with_margin(rows), _with_margin(columns)


def _with_margin(indices: NDArray[np.intp]) -> slice:
    return slice(max(0, indices[0] - _MARGIN), indices[-1] + 1 + _MARGIN)


def _estimated(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = alpha.shape
    # PyMatting divides by 0 for an image of a single pixel.
    wider = ((0, 0), (0, max(0, _SMALLEST - width)))
    levels = np.pad(rgb, (*wider, (0, 0)), mode="edge").astype(np.float32)
    levels /= 255
    weights = np.pad(alpha, wider, mode="edge").astype(np.float32)
    weights /= 255
    with _one_at_a_time:
        colours: NDArray[np.float32] = _estimator()(levels, weights)
    colours *= 255
    colours += 0.5
    return colours[:height, :width].astype(np.uint8)


@cache
def _estimator() -> Any:
    """Return PyMatting's function.

    The first import of its package compiles all functions, which takes a minute.  The module of
    this function alone takes some seconds.
    """
    if _MODULE not in sys.modules:
        with needs_extra(EXTRA):
            package = importlib.util.find_spec("pymatting")
            if package is None or package.origin is None:
                raise ModuleNotFoundError(name="pymatting")
            _load(Path(package.origin).with_name("foreground") / "estimate_foreground_ml.py")
    return sys.modules[_MODULE].estimate_foreground_ml


def _load(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        # Numba's cache of compiled code refers to the module by its name.
        sys.modules[_MODULE] = module
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[_MODULE]
        if isinstance(error, RuntimeError):  # Numba has no folder for its cache
            raise MissingExtraError(
                f"PyMatting cannot be compiled: {reason(error)}: set NUMBA_CACHE_DIR to a folder "
                f"that can be written"
            ) from error
        raise
