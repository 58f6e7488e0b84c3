from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from dsunet_runtime.bench.roofline import ceiling, layer_profile
from dsunet_runtime.bench.roofline.ceiling import Ceiling, measure_ceiling


def test_the_model_is_one_matmul() -> None:
    model = onnx.load_from_string(ceiling._MATMUL)
    onnx.checker.check_model(model)
    (node,) = model.graph.node
    assert (node.op_type, [*node.input], [*node.output]) == ("MatMul", ["a", "b"], ["y"])


def test_what_is_measured_is_near_what_numpy_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that others use, too: within a factor of 20."""
    monkeypatch.setattr(layer_profile, "_SECONDS", 0.1)
    monkeypatch.setattr(ceiling, "_SIDE", 512)
    found = measure_ceiling(1)
    a = np.ones((512, 512), np.float32)
    memory = np.ones(64 << 20, np.uint8)
    target = np.ones_like(memory)
    taken = []
    for work in (lambda: a @ a, lambda: np.copyto(target, memory)):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        taken.append(min(times))  # of the others, some were interrupted
    assert 1 / 20 < found.macs_per_second / (512**3 / taken[0]) < 20
    assert 1 / 20 < found.bytes_per_second / (2 * memory.nbytes / taken[1]) < 20


def test_the_copy_is_larger_than_the_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceiling, "_CACHES", tmp_path)
    assert ceiling._largest_cache() == 0
    for index, size in enumerate(("32K", "1024K", "32768K")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}/size").write_text(f"{size}\n")
    assert ceiling._largest_cache() == 32 << 20
    (tmp_path / "index0/size").write_text("a lot\n")
    assert ceiling._largest_cache() == 0


def test_the_slower_of_both_counts() -> None:
    machine = Ceiling(100.0, 10.0, "", "")
    assert machine.ideal(macs=200, moved=10) == 2  # at 20 multiply-adds a byte
    assert machine.ideal(macs=200, moved=50) == 5  # at 4
    assert [machine.rate(x) for x in (4, 10, 20)] == [40, 100, 100]
