"""The command `dsunet-run`.  NumPy, Pillow and ONNX Runtime are imported inside the commands."""

from __future__ import annotations

from dsunet_runtime.commands import bench, predict, selftest
from dsunet_runtime.commands.app import make_app
from dsunet_runtime.errors import RuntimeFault

app = make_app(
    "dsunet-run", "Run exported DSU-Net artifacts and measure their speed.", RuntimeFault
)

app.command(epilog=predict.EXAMPLES)(predict.predict)
app.command(epilog=selftest.EXAMPLES)(selftest.selftest)
app.command(epilog=bench.EXAMPLES)(bench.bench)
