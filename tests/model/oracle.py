"""`large` with the oracle's weights, and what the paper's published code computes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsunet import DSUNet, DSUNetConfig
from dsunet.model import build_empty
from dsunet.public_layout import public_key
from tests.fill_weights import fill_one

DATA = Path(__file__).parents[1] / "data"
SEED = 1

Maps = dict[str, np.ndarray[Any, Any]]


def reference_maps() -> Maps:
    """512 evenly spaced values of every map, and the three outputs whole (`out1_full`, …)."""
    with np.load(DATA / "oracle_reference.npz") as arrays:
        return dict(arrays)


def filled_large() -> DSUNet:
    """Float32, on the CPU, in evaluation mode."""
    model = build_empty(DSUNetConfig.preset("large"))
    state = {
        key: torch.zeros((), dtype=torch.int64)
        if key.endswith("num_batches_tracked")
        else torch.from_numpy(np.asarray(fill_one(public_key(key), tuple(like.shape), SEED)))
        for key, like in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    return model.eval()
