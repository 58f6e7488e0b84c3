"""`dsunet-run bench --roofline` of an engine of `nano`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsunet_runtime import read_manifest
from tests.runtime.bench.test_bench import QUICK, document, run

pytestmark = pytest.mark.gpu


def test_the_layers_of_an_engine(nano: Path) -> None:
    (found,) = document(run(nano, *QUICK, "--roofline"))["rooflines"]
    branches = found["branches"]
    for name in ("preprocessing", "Hiera", "DINOv2", "wavelet and fusion", "decoder"):
        assert branches[name]["seconds"] > 0
        assert branches[name]["macs"] > 0
        assert branches[name]["bytes"] > 0
    network = sum(one["macs"] for one in branches.values()) - branches["preprocessing"]["macs"]
    assert network == pytest.approx(read_manifest(nano).macs, rel=0.01)
    # Profiled layers run one by one; without a profiler nothing waits in between.
    assert found["all"]["seconds"] > 0.5 * found["unprofiled_seconds"]
    # No GPU in use computes less than a T multiply-add a second, or moves less than 100 GB.
    assert found["ceiling"]["macs_per_second"] > 1e12
    assert found["ceiling"]["bytes_per_second"] > 100e9
