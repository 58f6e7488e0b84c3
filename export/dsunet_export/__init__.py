"""From a DSU-Net checkpoint to a verified artifact."""

import os

from dsunet_runtime import __version__ as __version__

# Before ONNX Runtime is imported: it would report its use to its maker, and write an identifier
# into the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
