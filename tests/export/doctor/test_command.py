"""`dsunet-export doctor` on this machine, and with the base dependencies alone."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from dsunet_export.doctor.packages import installed_version
from dsunet_runtime import BackendError
from dsunet_runtime.cuda import find, nvml
from dsunet_runtime.extras import install_command
from tests.export.machines import doctor

ROOT = Path(__file__).parents[3]
BASE = ("numpy", "nvidia-ml-py", "pillow", "typer")
TASKS = (
    "load_checkpoints", "train", "evaluate_checkpoints", "evaluate_masks", "explain", "export_onnx",
    "convert_precision", "build_rtx", "build_tensorrt", "run_onnx_cpu", "run_onnx_cuda",
    "run_onnx_tensorrt", "run_onnx_rtx", "run_onnx_openvino", "run_engine_rtx",
    "run_engine_tensorrt",
)  # fmt: skip


class TestThisMachine:
    def test_versions(self) -> None:
        document = json.loads(doctor("--json"))
        assert document["python"] == platform.python_version()
        for name in ("torch", "timm", "sam2", "onnx", "onnx-ir", "onnxscript", "onnxruntime"):
            package = document["packages"][name]
            assert package["version"] == metadata.version(package["distribution"])
            assert package["state"] in ("loads", "installed")

    def test_what_the_tests_do_is_possible(self) -> None:
        tasks = json.loads(doctor("--json"))["tasks"]
        assert tuple(tasks) == TASKS
        done = ("load_checkpoints", "train", "evaluate_masks", "export_onnx", "run_onnx_cpu")
        for name in done:
            assert tasks[name]["possible"], name

    def test_cuda_of_torch_is_what_torch_reports(self) -> None:
        import torch

        document = json.loads(doctor("--json"))
        assert document["torch"]["cuda"] == torch.version.cuda

    def test_driver(self) -> None:
        """The provider is available as the runtime finds it."""
        document = json.loads(doctor("--json"))
        problem, gpus = None, []
        try:
            gpus = [gpu.name for gpu in find().gpus()]
        except BackendError as error:
            problem = str(error)
        assert document["driver"]["problem"] == problem
        assert [gpu["name"] for gpu in document["gpus"]] == gpus
        assert gpus or not document["tasks"]["run_engine_rtx"]["possible"]

    def test_tensorrt_for_rtx(self) -> None:
        trt = pytest.importorskip("tensorrt_rtx")
        document = json.loads(doctor("--json"))
        known = document["tensorrt"]["rtx"]["compute_capabilities"]
        for number in ("8.6", "8.9", "12.0"):
            assert (number in known) == hasattr(
                trt.ComputeCapability, f"SM{number.replace('.', '')}"
            )
        assert document["tasks"]["build_rtx"]["possible"]

    def test_torch_is_not_loaded_without_a_driver(self) -> None:
        if nvml.driver_version() is not None:
            pytest.skip("there is a driver here, so PyTorch is asked for its GPU")
        code = (
            "import sys\nfrom dsunet_export.doctor.machine import inspect_machine\n"
            "inspect_machine()\n"
            "print(sorted({'torch', 'timm', 'onnx_ir', 'onnxruntime'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "['onnxruntime']\n", done.stderr


class TestBaseDependencies:
    """The command where only the base dependencies are installed."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Path:
        """A folder with them and this project, and nothing else."""
        for name in set(_closure(*BASE)):
            distribution = metadata.distribution(name)
            for top in {file.parts[0] for file in distribution.files or ()} - {".."}:
                _link(tmp_path / top, Path(str(distribution.locate_file(top))))
        for source in ("dsunet", "export/dsunet_export", "runtime/dsunet_runtime"):
            _link(tmp_path / Path(source).name, ROOT / source)
        information = Path(str(metadata.distribution("dsunet").locate_file("")))
        for folder in information.glob("dsunet-*.dist-info"):
            _link(tmp_path / folder.name, folder)
        return tmp_path

    def run(self, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = (
            f"import sys; sys.path.append({str(site)!r}); sys.argv[1:] = {list(arguments)!r}\n"
            "from dsunet_export.cli import app; app(prog_name='dsunet-export')"
        )
        # Neither site-packages nor the current folder.
        command = [sys.executable, "-I", "-S", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_says_that_everything_is_missing(self, site: Path) -> None:
        done = self.run(site, "doctor", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        document = json.loads(done.stdout)
        assert {package["state"] for package in document["packages"].values()} == {"missing"}
        assert not any(task["possible"] for task in document["tasks"].values())
        assert (document["providers"], document["tensorrt"], document["torch"]) == ({}, {}, None)

    def test_table_names_every_command(self, site: Path) -> None:
        done = self.run(site, "doctor")
        assert done.returncode == 0, done.stderr
        lines = {line.strip() for line in done.stdout.splitlines()}
        extras = ("torch", "train", "evaluate", "export", "cpu", "gpu", "rtx", "tensorrt", "cuda")
        assert {*map(install_command, extras)} <= lines


def _closure(*names: str) -> Iterator[str]:
    """Distributions and what they need, but for their extras and what is not installed here."""
    for name in names:
        yield name
        for requirement in metadata.requires(name) or ():
            needed = requirement.partition(";")
            if "extra" in needed[2]:
                continue
            bare = re.split(r"[^\w.-]", needed[0])[0]
            if installed_version(bare) is not None:
                yield from _closure(bare)


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target)
