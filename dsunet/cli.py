"""The command `dsunet`.  PyTorch is imported inside the commands to keep `--help` fast."""

from __future__ import annotations

from dsunet.commands import (
    ablate,
    convert,
    demonstration,
    distill,
    evaluate,
    explain,
    generate,
    inspect,
    predict,
    train,
)
from dsunet.errors import DSUNetError
from dsunet_runtime.commands.app import make_app
from dsunet_runtime.errors import RuntimeFault

app = make_app(
    "dsunet",
    "DSU-Net in PyTorch: train, predict, evaluate, explain, and convert checkpoints.",
    DSUNetError,
    RuntimeFault,
)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(epilog=convert.EXAMPLES)(convert.convert)
app.command(epilog=demonstration.EXAMPLES)(demonstration.demonstration)
app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=distill.EXAMPLES)(distill.distill)
app.command(epilog=predict.EXAMPLES)(predict.predict)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=ablate.EXAMPLES, context_settings=ablate.SETTINGS)(ablate.ablate)
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.command(epilog=generate.EXAMPLES)(generate.generate)
