"""Options that several commands of `dsunet-export` share, and how commands print notices."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from dsunet_export.options import Attention
from dsunet_runtime.commands.app import complain

PROGRAM = "dsunet-export"
PRECISION, VERIFICATION = "Precision", "Verification"
"""Groups of options in the help."""

notice = functools.partial(complain, PROGRAM)
"""Print a line on stderr, such as which network of a checkpoint is used."""

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

Verbose = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Print every comparison, not only the worst.",
        rich_help_panel=VERIFICATION,
    ),
]
