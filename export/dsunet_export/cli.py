"""The command `dsunet-export`.  Each command imports PyTorch and ONNX itself, when it runs."""

from __future__ import annotations

from dsunet.errors import DSUNetError
from dsunet_export.commands import (
    deepstream,
    doctor,
    inspect,
    onnx,
    triton,
    trt,
    tune,
    verify,
)
from dsunet_export.commands.options import PROGRAM
from dsunet_export.errors import ExportError
from dsunet_runtime.commands.app import make_app
from dsunet_runtime.errors import RuntimeFault

app = make_app(
    PROGRAM,
    "Export DSU-Net checkpoints to ONNX files and TensorRT engines.",
    ExportError,
    DSUNetError,
    RuntimeFault,
)
app.command(epilog=onnx.EXAMPLES)(onnx.onnx)
app.command(epilog=trt.EXAMPLES)(trt.trt)
app.command(epilog=verify.EXAMPLES)(verify.verify)
app.command(epilog=tune.EXAMPLES)(tune.tune)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(epilog=triton.EXAMPLES)(triton.triton)
app.command(epilog=deepstream.EXAMPLES)(deepstream.deepstream)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
