"""The command `dsunet-run`.  NumPy, Pillow and ONNX Runtime are imported inside the commands."""

from __future__ import annotations

from dsunet_runtime.commands.app import make_app
from dsunet_runtime.commands.bench import BENCH_EXAMPLES, bench
from dsunet_runtime.commands.predict import PREDICT_EXAMPLES, predict
from dsunet_runtime.commands.selftest import SELFTEST_EXAMPLES, selftest
from dsunet_runtime.errors import RuntimeFault

app = make_app(
    "dsunet-run", "Run exported DSU-Net artifacts and measure their speed.", RuntimeFault
)

app.command(epilog=PREDICT_EXAMPLES)(predict)
app.command(epilog=SELFTEST_EXAMPLES)(selftest)
app.command(epilog=BENCH_EXAMPLES)(bench)
