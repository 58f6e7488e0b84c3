"""The option `--attention` of `dsunet-export onnx` and `trt`."""

from __future__ import annotations

from typing import Annotated

import typer

from dsunet_export.options import Attention

PRECISION = "Precision"
"""The group of options in the help."""

ChosenAttention = Annotated[
    Attention,
    typer.Option(
        help="Form of attention, for GPUs on which a fused kernel computes wrongly "
        "(`dsunet-run selftest` reports it).  fused: the form for which TensorRT has fused "
        "kernels.  float32: scores and softmax in float32 where the rest is in 16 bits, for which "
        "it has none.  unfused: softmax over transposed scores, for which it has none in any "
        "precision.",
        rich_help_panel=PRECISION,
    ),
]
