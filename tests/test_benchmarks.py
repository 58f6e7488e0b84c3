"""The benchmarks run, and their page is what their result files say.  No time is asserted."""

from __future__ import annotations

import copy
import importlib
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dsunet import random_model
from dsunet_export.macs import count_macs
from dsunet_export.options import ExportPrecision
from dsunet_runtime.artifact.manifest import InputForm
from dsunet_runtime.bench.measurement import Schedule
from tests.runtime import artifacts
from tests.training.conftest import SMALL

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(p.name for p in BENCHMARKS.glob("*.py") if "\ndef main()" in p.read_text())
SCHEDULE = Schedule(rounds=2, calls=4, max_warm_up=0.1)
CIRCUMSTANCES = {
    "processor": "Z80",
    "cores": 1,
    "gpu": None,
    "driver": None,
    "python": "3.11",
    "date": "2026-11-21T00:00:00",
    "commit": "abc",
    "load_after": [0, 0, 0],
    "versions": {"torch": "2.8"},
}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a script that is run."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scripts write instead."""
    folder = tmp_path / "results"
    monkeypatch.setattr(importlib.import_module("common"), "RESULTS", folder)
    return folder


@pytest.fixture
def forms(tmp_path: Path) -> dict[InputForm, Path]:
    return {
        InputForm.FRAMES: artifacts.frames(tmp_path / "frames.onnx"),
        InputForm.TENSORS: artifacts.tensors(tmp_path / "tensors.onnx"),
    }


def page(folder: Path) -> dict[str, str]:
    files: dict[str, str] = importlib.import_module("readme").make_readme(folder)
    return files


def write(name: str, found: dict[str, Any]) -> None:
    importlib.import_module("common").write(f"{name}_nano", {"preset": "nano", **found})


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_page_matches_the_result_files() -> None:
    committed = [BENCHMARKS / "README.md", *(BENCHMARKS / "plots").iterdir()]
    assert page(BENCHMARKS / "results") == {
        path.relative_to(BENCHMARKS).as_posix(): path.read_text() for path in committed
    }


def test_no_result_makes_no_section(tmp_path: Path) -> None:
    (readme,) = page(tmp_path).values()
    assert "##" not in readme


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    assert ending.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match=r"^gpu\.py: .*no NVIDIA GPU.*run it where.*$"):
        runpy.run_path(str(BENCHMARKS / "gpu.py"), run_name="__main__")


def test_runner_overhead(forms: dict[InputForm, Path], results: Path) -> None:
    found = script("runner_overhead").measure(forms, SCHEDULE, calls=40)
    write("runner_overhead", found)
    for one in found["time"].values():
        bare, ours = (one["times"][name]["all_s"] for name in ("bare", "segmenter"))
        assert one["added"]["all_s"] == [b - a for a, b in zip(bare, ours, strict=True)]
        assert one["within_bound"] == (one["added"]["median_s"] <= one["allowed_s"])
    memory = found["memory"]
    assert memory["calls"] == memory["measured"]["calls"][-1] == 40
    # The inputs stacked, 3×16×16 and 3×14×14, and the logits, in float32.
    assert memory["traced_during_a_call_bytes"] > 4 * 3 * (16**2 + 14**2)
    files = page(results)
    assert "40 calls after the warm-up" in files["README.md"]
    assert "plots/runner_memory.svg" in files


def test_frames(
    forms: dict[InputForm, Path], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = script("frames")
    monkeypatch.setattr(frames, "SIZES", {"small": (30, 40), "wide": (30, 80)})
    write("frames", {"sizes": frames.measure(forms, SCHEDULE)})
    files = page(results)
    assert "| wide, 80×30 |" in files["README.md"]
    assert files["plots/frames.svg"].count("<circle") == 2 * 2


def test_growth(forms: dict[InputForm, Path], results: Path) -> None:
    growth = script("growth")
    artifact = forms[InputForm.FRAMES]
    batches = growth.measure_batches(artifact, (1, 2), SCHEDULE)
    folders = growth.measure_folders(artifact, (2, 5), rounds=1)
    write("growth", {"batches": batches, "folders": folders})
    assert [one["latency"]["calls"] for one in batches] == [4, 4]
    assert all(one["peak_mb"] > 10 for one in folders)
    readme = page(results)["README.md"]
    assert "\n| 2 | " in readme
    assert "\n| 5 | " in readme


def test_workers(
    forms: dict[InputForm, Path], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = script("workers")
    monkeypatch.setitem(workers.VARIANTS, "ray_2", workers.VARIANTS["workers_1"])
    images = tmp_path / "images"
    images.mkdir()
    for number in range(8):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(images / f"{number}.png")
    found = workers.measure(forms[InputForm.FRAMES], images, tmp_path / "masks", rounds=1)
    assert all(start["median_s"] > 0 for start in found["start"].values())
    write("workers", {"images": 8, **found})
    assert re.search(r"\| `--workers 2` \| [^|]* \| [^|]* \| \*\*\d", page(results)["README.md"])


def test_cpu_providers(forms: dict[InputForm, Path], results: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    providers = script("cpu_providers")
    image = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(image)
    graphs = dict.fromkeys(ExportPrecision, forms[InputForm.TENSORS])
    write("cpu_providers", providers.measure(graphs, image, SCHEDULE))
    readme = page(results)["README.md"]
    assert re.search(r"\| ONNX Runtime, fp32 \| [^|]* \|  \|", readme)
    assert re.search(r"\| OpenVINO, bf16 \| [^|]* \| \*\*\d", readme)


def test_ratios_are_of_rounds(results: Path) -> None:
    times = {"pytorch_eager": [4, 4, 4], "onnxruntime_rewritten": [2, 4, 6]}
    summary = script("common").summary
    results.mkdir()
    document = {
        **CIRCUMSTANCES,
        "times": {name: summary(s) for name, s in times.items()},
        "macs": {"onnxruntime_bare": 70e9, "onnxruntime_rewritten": 66.7e9},
    }
    (results / "latency_cpu_tiny.json").write_text(json.dumps(document))
    readme = page(results)["README.md"]
    assert "| PyTorch eager | 4.00 s (4.00 to 4.00 s) | **1.00** (0.50 to 1.50) |" in readme
    assert "Z80, 1 cores, 2026-11-21, commit abc" in readme
    assert "Multiply-adds: 70.0 G in the bare export, 66.7 G with `dsunet-export onnx`." in readme


def test_page_of_a_gpu(results: Path) -> None:
    variants = importlib.import_module("sections.gpus")._GPU_VARIANTS
    names = [f"{variant}_{precision}" for precision in ("fp32", "fp16") for variant in variants]
    times = {name: [0.001 * (index + 1)] * 3 for index, name in enumerate(names)}
    document = {**CIRCUMSTANCES, "gpu": "RTX 4090", "driver": "580", "warnings": [], "left_out": {}}
    document |= script("gpu").summarise(times)
    results.mkdir()
    (results / "gpu_large.json").write_text(json.dumps(document))
    readme = page(results)["README.md"]
    assert "| TensorRT, plain export | 5.00 ms (5.00 to 5.00 ms) | **1.20**" in readme
    assert "RTX 4090, driver 580" in readme


def test_page_of_batches_on_a_gpu(results: Path) -> None:
    times = {"median_s": 0.05, "min_s": 0.04, "max_s": 0.06, "images_per_s": 20.0}
    document = {
        **CIRCUMSTANCES,
        "preset": "large",
        "ceiling": {"macs_per_second": 400e12, "matmul": "matmul"},
        "macs": {"torch_eager": 5e12},
        "left_out": {"torch_compiled, batch 8": "no compiler"},
        "batches": [{"batch": 1, "variants": {"torch_eager": times}, "warnings": ["it was hot"]}],
    }
    results.mkdir()
    (results / "gpu_batches_torch.json").write_text(json.dumps(document))
    readme = page(results)["README.md"]
    assert "| PyTorch eager | 1 | 50.0 ms (40.0 to 60.0 ms) | 20.0 | 25.0% |" in readme
    assert "Not measured: torch_compiled, batch 8: no compiler" in readme
    assert "Warning: batch 1: it was hot" in readme


def test_page_of_engines_that_are_refused(results: Path) -> None:
    said = {"outcome": "does not load", "reason": "a.engine: unsupported: build it again: `x`"}
    attempts = {"SM80": said, "SM89": {"outcome": "runs", "reason": None}}
    results.mkdir()
    document = {**CIRCUMSTANCES, "attempts": attempts, "presets": {}}
    (results / "gpu_rtx.json").write_text(json.dumps(document))
    readme = page(results)["README.md"]
    assert "| `SM80` | does not load | unsupported |" in readme
    assert "| `SM89` | runs |  |" in readme


def test_old_plots_go(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(BENCHMARKS / "plots", tmp_path / "plots")
    monkeypatch.setattr(sys, "argv", ["readme.py", "-o", str(tmp_path)])
    results.mkdir()
    runpy.run_path(str(BENCHMARKS / "readme.py"), run_name="__main__")
    assert not [*(tmp_path / "plots").iterdir()]
    assert (tmp_path / "README.md").is_file()


def test_pruning_is_removal() -> None:
    """Logits are those of the whole network with these weights at zero, at fewer multiply-adds."""
    pruning = script("pruning")
    model = random_model(SMALL)
    assert model.dino is not None
    inputs = [torch.randn(2, 3, side, side) for side in SMALL.input_sizes.values()]
    whole = count_macs(model)
    for name, prune in pruning.variants(model):
        pruned, zeroed = copy.deepcopy(model), copy.deepcopy(model)
        prune(pruned)
        for block, kept in zip(
            pruning.dino_blocks(zeroed), pruning.dino_blocks(pruned), strict=True
        ):
            _set_to_zero(block, kept)
        for block, kept in zip(zeroed.hiera.trunk.blocks, pruned.hiera.trunk.blocks, strict=True):
            _keep_where_equal(block.mlp.layers[1], kept.mlp.layers[1])
        with torch.no_grad():
            found, expected = pruned(*inputs).fine, zeroed(*inputs).fine
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4, msg=name)
        assert (count_macs(pruned) < whole) is (name != "whole")
    assert not torch.allclose(found, model(*inputs).fine, rtol=0, atol=1e-3)


def _set_to_zero(block: Any, kept: Any) -> None:
    """The output weights of a block of DINOv2 that the other, pruned, does not have."""
    if isinstance(kept, torch.nn.Identity):
        for scale in (block.ls1, block.ls2):
            torch.nn.init.zeros_(scale.gamma)
        return
    _keep_where_equal(block.attn.proj, kept.attn.proj)
    _keep_where_equal(block.mlp.fc2, kept.mlp.fc2)


def _keep_where_equal(whole: Any, kept: Any) -> None:
    """Set the columns of the first layer to zero that are not among those of the second."""
    columns = {tuple(column) for column in kept.weight.T.tolist()}
    gone = [k for k, column in enumerate(whole.weight.T.tolist()) if tuple(column) not in columns]
    whole.weight.data[:, gone] = 0


def test_video(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few frames, with masks that are the ground truth but for what flickers."""
    video, clips = script("video"), script("video_clips")
    monkeypatch.setattr(clips, "COUNT", 6)
    clip = clips.make_clip("pan")
    random = np.random.default_rng(0)
    masks = [
        np.clip(200 * inside + random.integers(0, 40), 0, 255).astype(np.uint8)
        for inside in clip.inside
    ]
    found = video.measure("pan", clip, masks)
    assert found["4"]["in_motion"] < 0.6 * found["0"]["in_motion"]
    assert found["0"]["s_measure"] == pytest.approx(1)
    assert found["4"]["s_measure"] > 0.9
    one = {"seconds_per_mask": 0.1, "smoothing": found}
    importlib.import_module("common").write("video", {"shape": clips.SHAPE, "clips": {"pan": one}})
    assert f"| pan | 0 | {found['0']['flicker']:.2f} |" in page(results)["README.md"]
