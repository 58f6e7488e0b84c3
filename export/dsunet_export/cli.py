"""The command `dsunet-export`.  Each command imports PyTorch and ONNX itself, when it runs."""

from __future__ import annotations

from dsunet.errors import DSUNetError
from dsunet_export.commands.deepstream import DEEPSTREAM_EXAMPLES, deepstream
from dsunet_export.commands.doctor import DOCTOR_EXAMPLES, doctor
from dsunet_export.commands.inspect import INSPECT_EXAMPLES, inspect
from dsunet_export.commands.onnx import ONNX_EXAMPLES, onnx
from dsunet_export.commands.options import PROGRAM
from dsunet_export.commands.triton import TRITON_EXAMPLES, triton
from dsunet_export.commands.trt import TRT_EXAMPLES, trt
from dsunet_export.commands.tune import TUNE_EXAMPLES, tune
from dsunet_export.commands.verify import VERIFY_EXAMPLES, verify
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
app.command(epilog=ONNX_EXAMPLES)(onnx)
app.command(epilog=TRT_EXAMPLES)(trt)
app.command(epilog=VERIFY_EXAMPLES)(verify)
app.command(epilog=TUNE_EXAMPLES)(tune)
app.command(epilog=INSPECT_EXAMPLES)(inspect)
app.command(epilog=TRITON_EXAMPLES)(triton)
app.command(epilog=DEEPSTREAM_EXAMPLES)(deepstream)
app.command(epilog=DOCTOR_EXAMPLES)(doctor)
