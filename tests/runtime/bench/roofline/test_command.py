"""`dsunet-run bench --roofline` end to end: on a CPU, and with an engine on a fake GPU."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.bench import monitor, workload
from dsunet_runtime.bench.roofline import ceiling, gpu_ceiling, layer_profile
from dsunet_runtime.bench.roofline.trt_profile import as_layer_profile
from tests.runtime import artifacts, engines, fake_tensorrt
from tests.runtime.bench.test_bench import QUICK, document, run
from tests.runtime.commands.runner import fails_with_one_line
from tests.runtime.conftest import Machine
from tests.runtime.fake_cuda import GPU

SIDE = 64


@pytest.fixture(autouse=True)
def small_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_profile, "_SECONDS", 0)
    monkeypatch.setattr(ceiling, "_SIDE", SIDE)
    monkeypatch.setattr(ceiling, "_LEAST_COPY", 1 << 20)
    monkeypatch.setattr(ceiling, "_MOST_COPY", 1 << 20)
    monkeypatch.setattr(gpu_ceiling, "_SIDE", SIDE)
    monkeypatch.setattr(gpu_ceiling, "_COPY", 4096)


def test_a_table_for_each_artifact_and_batch(tmp_path: Path) -> None:
    first, second = (artifacts.tensors(tmp_path / f"{name}.onnx") for name in "ab")
    out = tmp_path / "out"
    batches = ("--batch", 1, "--batch", 3)
    options = (*QUICK, *batches, "--roofline", "--threads", 1, "-o", out)
    result = run(first, second, *options, as_json=False)
    found = json.loads((out / "bench.json").read_text())["rooflines"]
    assert [(one["artifact"], one["batch"]) for one in found] == [
        *(("a.onnx", 1), ("a.onnx", 3), ("b.onnx", 1), ("b.onnx", 3))
    ]
    for one in found:
        assert list(one["branches"]) == ["other"]
        (other,) = one["branches"].values()
        assert other == one["all"]
        assert 0 < other["seconds"] < 1
        assert other["attained"] > 0
        assert one["unprofiled_seconds"] > 0
    assert found[1]["all"]["macs"] == 3 * found[0]["all"]["macs"] > 0
    assert result.stdout.count("\nroofline of ") == 4
    with (out / "roofline.csv").open() as file:
        assert [row["batch"] for row in csv.DictReader(file)] == ["1", "3", "1", "3"]
    assert (out / "roofline.svg").read_text().count("</svg>") == 5


def test_it_is_optional(tmp_path: Path) -> None:
    path = artifacts.tensors(tmp_path / "a.onnx")
    assert document(run(path, *QUICK, "-o", tmp_path / "out"))["rooflines"] == []
    assert not (tmp_path / "out/roofline.csv").exists()


def test_a_gpu_needs_an_engine(frames_artifact: Path) -> None:
    asked = (frames_artifact, "--provider", "cuda", "--roofline")
    fails_with_one_line("bench", *asked, match="does not time GPU kernels")


def kernel(name: str, ms: float, *nodes: str, **described: Any) -> dict[str, Any]:
    """The output of TensorRT's inspector for an engine that was built with detailed layer names."""
    metadata = "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)
    return {"Name": name, "Metadata": metadata, "ms": ms, **described}


def tensor(*shape: int, kind: str = "Half") -> dict[str, Any]:
    return {"Name": "t", "Dimensions": list(shape), "Format/Datatype": kind}


KERNELS = [
    kernel(
        "__myl_Cast_myl0_0", 0.5, "preprocess/Cast",
        Inputs=[tensor(1, 720, 1280, 3, kind="UInt8")], Outputs=[tensor(1, 10, 10)],
    ),
    kernel(
        "_gemm_mha_v2_myl0_1", 2.0, "hiera.trunk.blocks.0.attn/MatMul",
        "hiera.trunk.blocks.0.attn/Softmax", "hiera.trunk.blocks.0.attn/MatMul_1",
        Inputs=[tensor(1, 10, 10)], Outputs=[tensor(1, 10, 10)],
        Weights={"Type": "Half", "Count": 7},
    ),
    # TensorRT's own, of no node; and one of unknown size.
    kernel("Reformat", 0.25, Inputs=[tensor(-1, 10)], Outputs=[tensor(1, 10, kind="FP32")]),
    kernel("heads.2", 0.25, "heads.2/Conv", Inputs=[], Outputs=[]),
]  # fmt: skip


class TestEngine:
    """On a fake GPU."""

    @pytest.fixture(autouse=True)
    def machine(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
        monkeypatch.setattr(workload, "find", lambda: machine.cuda)
        monkeypatch.setattr(monitor, "find", lambda: machine.cuda)
        monkeypatch.setattr(gpu_ceiling, "build_matmul", lambda *_: a_matmul())
        return machine

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        path = tmp_path / "image.png"
        Image.new("RGB", (30, 20), (10, 20, 30)).save(path)
        return path

    def test_branches(self, tmp_path: Path, image: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", layers=KERNELS)
        found = roofline(path, image)
        branches = found["branches"]
        assert {name: one["seconds"] for name, one in branches.items()} == pytest.approx(
            {"preprocessing": 0.5e-3, "Hiera": 2.25e-3, "decoder": 0.25e-3}
        )
        assert branches["preprocessing"]["bytes"] == 720 * 1280 * 3 + 2 * 100
        assert branches["Hiera"]["bytes"] == 2 * (100 + 100 + 7) + 4 * 10
        # The matmul of `artifacts.frames`, for two images.
        assert found["all"]["macs"] == 2 * 20 * 30 * 3
        assert found["unprofiled_seconds"] > 0
        (note,) = found["notes"]
        assert note.startswith("8.3% of the time")

    def test_without_the_graph_nothing_is_counted(self, tmp_path: Path, image: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", layers=KERNELS)
        path.with_suffix(".onnx").unlink()
        found = roofline(path, image)
        assert found["all"]["macs"] == 0
        assert "multiply-adds not counted: a.onnx is not next to the engine" in found["notes"]

    def test_an_engine_without_times(self, tmp_path: Path, image: Path) -> None:
        path = engines.frames(tmp_path / "a.engine")
        result = run(path, "--image", image, *QUICK, "--roofline")
        found = document(result)
        assert len(found["measurements"]) == 1  # what was measured before is not lost
        assert any("TensorRT reports no layer times" in line for line in found["warnings"])

    def test_an_engine_with_names_only(self, tmp_path: Path, image: Path) -> None:
        plain = [{"Name": layer["Name"], "ms": layer["ms"]} for layer in KERNELS]
        found = roofline(engines.frames(tmp_path / "a.engine", layers=plain), image)
        assert list(found["branches"]) == ["other"]
        assert found["all"]["seconds"] == pytest.approx(3e-3)
        assert any("build it again" in note for note in found["notes"])


def test_kernels_that_change() -> None:
    """Only runs of what the last one ran are compared, and never the first."""
    old, new = ([(name, ms / 1e3) for ms in (2, 1)] for name in ("old", "new"))
    runs = [[("new", 9.0)] * 2, old, new, [("new", 0.004), ("new", 0.003)]]
    profile = as_layer_profile(runs, 1.0, "{}", {})
    assert [layer.seconds for layer in profile.layers] == pytest.approx([0.003, 0.002])


def roofline(engine: Path, image: Path) -> dict[str, Any]:
    found = document(run(engine, "--image", image, *QUICK, "--roofline"))
    (one,) = found["rooflines"]
    return dict(one)


def a_matmul() -> bytes:
    """What TensorRT builds, for the fake one."""
    ends = [(SIDE, SIDE)] * 3
    tensors = {name: engines.tensor("INPUT", "float32", [SIDE, SIDE], ends) for name in "ab"}
    tensors["y"] = engines.tensor("OUTPUT", "float32", [SIDE, SIDE])
    document = {"magic": fake_tensorrt.MAGIC, "tensors": tensors, "weights": None}
    return json.dumps(document).encode()


@pytest.mark.parametrize("compute", Compute)
def test_tensorrt_for_rtx_builds_the_matmul(compute: Compute) -> None:
    """Without a GPU; and its plan holds no weights."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    plan = gpu_ceiling.build_matmul(trt, log_of(trt), GPU, compute)
    assert 0 < plan.nbytes < 1 << 20
