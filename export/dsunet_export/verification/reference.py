"""Compute reference logits as the paper's published code does.

Pillow resamples the image and the model runs in PyTorch, without rewrites.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dsunet.network.model import DSUNet
from dsunet_export.errors import VerificationError
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.artifact.manifest import InputForm


def compute_reference(model: DSUNet, probe: Probe) -> NDArray[np.float32]:
    """Compute the fine logits S×S of a model.  Raises VerificationError if they are not finite."""
    inputs = GraphInputs(InputForm.TENSORS, model.config.input_sizes).prepare(probe)
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
        logits: NDArray[np.float32] = model(**tensors).fine[0, 0].numpy()
    if not np.isfinite(logits).all():
        raise VerificationError(
            f"the model computes values that are not finite on {probe.label}, in PyTorch: check "
            "the checkpoint; nothing was exported"
        )
    return logits
