"""`dsunet-export doctor`: this machine, others that are made up, and one with next to nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import platform
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

import dsunet_export.doctor.machine as machine_module
import dsunet_export.doctor.packages as packages_module
from dsunet_export.cli import app
from dsunet_export.doctor import as_document, as_table, judge, look_round
from dsunet_export.doctor.machine import (
    Driver,
    Machine,
    PresentGpu,
    PresentProvider,
    TensorRT,
    Torch,
)
from dsunet_export.doctor.packages import Package, State, find_packages
from dsunet_runtime import BackendError
from dsunet_runtime.backends import onnxruntime as onnxruntime_backend
from dsunet_runtime.cuda import Gpu, find, nvml
from dsunet_runtime.flavor import Flavor
from dsunet_runtime.provider import Provider
from tests.export.engines import H100, RTX_4090
from tests.runtime.fake_cuda import FakeCuda

ROOT = Path(__file__).parents[2]
BASE = ("numpy", "pillow", "typer")
RTX_KNOWS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
JOBS = (
    "load_checkpoints", "export_onnx", "convert_precision", "build_rtx", "build_tensorrt",
    "run_onnx_cpu", "run_onnx_cuda", "run_onnx_tensorrt", "run_engine_rtx", "run_engine_tensorrt",
)  # fmt: skip


def doctor(*arguments: str) -> str:
    """What the command prints, in this process."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def made_up(
    *gpus: Gpu, without: tuple[str, ...] = (), broken: tuple[str, ...] = (), **changes: Any
) -> Machine:
    """A machine with everything in it, CUDA 13 and these GPUs, but for what is said otherwise."""
    packages = {
        name: Package(
            package.title,
            package.distribution,
            package.extra,
            State.MISSING if name in without else State.BROKEN if name in broken else State.LOADS,
            None if name in without else "1.2.3",
            "libx.so.1: cannot open shared object file" if name in broken else None,
        )
        for name, package in find_packages().items()
    }
    installed = {
        f for f in Flavor if packages[packages_module.distribution(f)].state is State.LOADS
    }
    machine = Machine(
        python="3.11.7",
        platform="linux x86_64",
        driver=Driver("580.95.05", "13.0", None),
        gpus=tuple(PresentGpu(gpu, gpu.memory - (1 << 30)) for gpu in gpus),
        packages=packages,
        onnxruntimes=("onnxruntime-gpu",),
        providers={provider: PresentProvider(starts=True) for provider in Provider},
        tensorrt={
            flavor: TensorRT(13, RTX_KNOWS if flavor is Flavor.RTX else None)
            for flavor in Flavor
            if flavor in installed
        },
        torch=Torch("13.0", sees_gpu=True),
    )
    return dataclasses.replace(machine, **changes)


def impossible(machine: Machine) -> set[str]:
    return {job.name for job in judge(machine) if not job.possible}


def lacks(machine: Machine, name: str) -> list[tuple[str | None, str | None]]:
    """What a job misses, and the remedies."""
    (job,) = (job for job in judge(machine) if job.name == name)
    return [(need.missing, need.remedy) for need in job.needs if need.missing is not None]


class TestThisMachine:
    def test_versions(self) -> None:
        document = json.loads(doctor("--json"))
        assert document["python"] == platform.python_version()
        for name in ("torch", "timm", "sam2", "onnx", "onnx-ir", "onnxscript", "onnxruntime"):
            package = document["packages"][name]
            assert package["version"] == metadata.version(package["distribution"])
            assert package["state"] in ("loads", "installed")

    def test_what_the_tests_do_is_possible(self) -> None:
        jobs = json.loads(doctor("--json"))["jobs"]
        assert tuple(jobs) == JOBS
        for name in ("load_checkpoints", "export_onnx", "convert_precision", "run_onnx_cpu"):
            assert jobs[name]["possible"], name

    def test_cuda_of_torch_is_what_torch_says(self) -> None:
        import torch

        document = json.loads(doctor("--json"))
        assert document["torch"]["cuda"] == torch.version.cuda

    def test_driver(self) -> None:
        """As the runtime sees it."""
        document = json.loads(doctor("--json"))
        problem, gpus = None, []
        try:
            gpus = [gpu.name for gpu in find().gpus()]
        except BackendError as error:
            problem = str(error)
        assert document["driver"]["problem"] == problem
        assert [gpu["name"] for gpu in document["gpus"]] == gpus
        assert gpus or not document["jobs"]["run_engine_rtx"]["possible"]

    def test_tensorrt_for_rtx(self) -> None:
        trt = pytest.importorskip("tensorrt_rtx")
        document = json.loads(doctor("--json"))
        known = document["tensorrt"]["rtx"]["compute_capabilities"]
        for number in ("8.6", "8.9", "12.0"):
            assert (number in known) == hasattr(
                trt.ComputeCapability, f"SM{number.replace('.', '')}"
            )
        assert document["jobs"]["build_rtx"]["possible"]

    def test_torch_is_not_loaded_without_a_driver(self) -> None:
        if nvml.driver_version() is not None:
            pytest.skip("there is a driver here, so PyTorch is asked for its GPU")
        code = (
            "import sys\nfrom dsunet_export.doctor import look_round\nlook_round()\n"
            "print(sorted({'torch', 'timm', 'onnx_ir', 'onnxruntime'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "['onnxruntime']\n", done.stderr


class TestTable:
    @pytest.mark.parametrize(
        "machine",
        [
            look_round,
            lambda: made_up(RTX_4090),
            lambda: made_up(H100, RTX_4090, broken=("tensorrt", "onnx"), without=("timm",)),
        ],
    )
    def test_columns(self, machine: Callable[[], Machine]) -> None:
        """Only commands may be longer: they are to be copied."""
        found = machine()
        jobs = judge(found)
        commands = {need.remedy for job in jobs for need in job.needs}
        for line in as_table(found, jobs).splitlines():
            assert len(line) <= 100 or line.strip() in commands
            assert line == line.rstrip()

    def test_says_what_is_here(self) -> None:
        found = made_up(RTX_4090, H100)
        rows = [" ".join(line.split()) for line in as_table(found, judge(found)).splitlines()]
        assert "NVIDIA driver 580.95.05" in rows
        assert "CUDA, of the driver 13.0 the newest that it runs" in rows
        assert "GPU 0 8.9 NVIDIA GeForce RTX 4090, 24.0 GiB, 23.0 GiB free" in rows
        assert "PyTorch 1.2.3 for CUDA 13.0, sees a GPU" in rows
        builds = ", ".join(RTX_KNOWS)
        assert f"TensorRT for RTX 1.2.3 for CUDA 13, builds for {builds}" in rows

    def test_every_remedy_once(self) -> None:
        found = made_up(driver=Driver(None, None, "no"), without=("timm", "sam2", "tensorrt"))
        lines = [line.strip() for line in as_table(found, judge(found)).splitlines()]
        assert lines.count("pip install 'dsunet[torch]'") == 1
        assert lines.count("timm is not installed; sam2 is not installed") == 1
        assert sum("https://www.nvidia.com/drivers" in line for line in lines) == 1

    def test_says_no_more_than_needed_where_nothing_is_missing(self) -> None:
        found = made_up(RTX_4090)
        assert "What is missing" not in as_table(found, judge(found))

    def test_document_can_be_json(self) -> None:
        found = made_up(RTX_4090, broken=("tensorrt",))
        document = as_document(found, judge(found))
        again = json.loads(json.dumps(document))
        assert set(again) == {
            "python", "platform", "driver", "gpus", "packages", "onnxruntimes", "providers",
            "tensorrt", "torch", "jobs",
        }  # fmt: skip
        assert again["packages"]["tensorrt"]["state"] == "broken"
        assert again["gpus"][0]["memory"] == 24 << 30


class TestMachines:
    def test_everything(self) -> None:
        assert impossible(made_up(RTX_4090)) == set()
        (build,) = (job for job in judge(made_up(RTX_4090)) if job.name == "build_rtx")
        assert "for the NVIDIA GeForce RTX 4090 (8.9) here" in str(build.remark)

    def test_no_driver(self) -> None:
        machine = made_up(driver=Driver(None, None, "no NVIDIA driver works here"))
        assert impossible(machine) == {
            "build_tensorrt", "run_onnx_cuda", "run_onnx_tensorrt", "run_engine_rtx",
            "run_engine_tensorrt",
        }  # fmt: skip
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert missing == "there is no NVIDIA driver"
        assert remedy == "install NVIDIA's driver: https://www.nvidia.com/drivers"

    def test_gpu_that_rtx_does_not_know(self) -> None:
        machine = made_up(H100)
        assert impossible(machine) == {"run_engine_rtx"}
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert "nothing for the NVIDIA H100 80GB HBM3 (9.0)" in str(missing)
        assert remedy == "build with --flavor tensorrt"
        (build,) = (job for job in judge(machine) if job.name == "build_rtx")
        assert "not for the NVIDIA H100 80GB HBM3 (9.0) here" in str(build.remark)
        alone = made_up(H100, without=("tensorrt",))
        assert lacks(alone, "run_engine_rtx")[0][1] == "pip install 'dsunet[tensorrt]'"

    def test_first_gpu_decides(self) -> None:
        """Engines run on CUDA's first GPU."""
        assert "run_engine_rtx" in impossible(made_up(H100, RTX_4090))
        assert "run_engine_rtx" not in impossible(made_up(RTX_4090, H100))

    def test_flavor_that_is_broken(self) -> None:
        machine = made_up(RTX_4090, broken=("tensorrt",))
        assert impossible(machine) == {"build_tensorrt", "run_engine_tensorrt"}
        ((missing, remedy),) = lacks(machine, "build_tensorrt")
        assert missing == (
            "TensorRT 1.2.3 does not load (libx.so.1: cannot open shared object file)"
        )
        assert remedy == "pip install --force-reinstall tensorrt==1.2.3"

    def test_driver_that_is_too_old(self) -> None:
        machine = made_up(RTX_4090, driver=Driver("570.1", "12.8", None))
        assert impossible(machine) == {"build_tensorrt", "run_engine_rtx", "run_engine_tensorrt"}
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert missing == "the driver runs CUDA 12.8 at most, and this TensorRT for RTX needs 13"
        assert remedy == "install a newer driver: https://www.nvidia.com/drivers"

    def test_no_binding(self) -> None:
        """Whether there is a GPU is not known then, and is not said to be missing."""
        driver = Driver("580.95.05", None, "neither cuda-python nor PyCUDA is installed")
        machine = made_up(driver=driver, without=("cuda-python", "pycuda"))
        expected = [("cuda-python is not installed", "pip install 'dsunet[cuda]'")]
        assert lacks(machine, "run_engine_rtx") == expected
        assert "run_onnx_cuda" not in impossible(machine)

    def test_pycuda_will_do(self) -> None:
        assert impossible(made_up(RTX_4090, without=("cuda-python",))) == set()

    def test_cuda_that_does_not_start(self) -> None:
        machine = made_up(driver=Driver("580.95.05", None, "CUDA_ERROR_NO_DEVICE"))
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert missing == "CUDA_ERROR_NO_DEVICE"
        assert "CUDA_VISIBLE_DEVICES" in str(remedy)

    def test_onnxruntime_for_the_cpu(self) -> None:
        cpu = {Provider.CPU: PresentProvider(starts=True)}
        machine = made_up(RTX_4090, providers=cpu, onnxruntimes=("onnxruntime",))
        ((missing, remedy),) = lacks(machine, "run_onnx_cuda")
        assert missing == "the ONNX Runtime here was built without the provider cuda"
        assert remedy == "pip uninstall -y onnxruntime && pip install 'dsunet[gpu]'"

    def test_two_onnxruntimes(self) -> None:
        both = ("onnxruntime", "onnxruntime-gpu")
        cpu = {Provider.CPU: PresentProvider(starts=True)}
        machine = made_up(RTX_4090, providers=cpu, onnxruntimes=both)
        ((_, remedy),) = lacks(machine, "run_onnx_cuda")
        expected = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'dsunet[gpu]'"
        assert remedy == expected
        assert "overwrite each other" in as_table(machine, judge(machine))

    def test_provider_that_does_not_start(self) -> None:
        providers = {
            Provider.CPU: PresentProvider(starts=True),
            Provider.CUDA: PresentProvider(starts=False, problem="libcudnn.so.9 is not there"),
        }
        machine = made_up(RTX_4090, providers=providers)
        ((missing, remedy),) = lacks(machine, "run_onnx_cuda")
        assert missing == "libcudnn.so.9 is not there"
        assert remedy == "pip install 'onnxruntime-gpu[cuda,cudnn]'"

    def test_export_beside_onnxruntime_for_gpus(self) -> None:
        """The extra would bring the ONNX Runtime for CPUs, which overwrites the other."""
        machine = made_up(RTX_4090, without=("onnx", "onnxscript", "timm"))
        remedies = [remedy for _, remedy in lacks(machine, "export_onnx")]
        assert remedies == [
            "pip install 'dsunet[torch]'", "pip install onnx", "pip install onnxscript",
        ]  # fmt: skip
        machine = dataclasses.replace(machine, onnxruntimes=("onnxruntime",))
        assert "pip install 'dsunet[export]'" in dict(lacks(machine, "export_onnx")).values()

    def test_no_onnxruntime(self) -> None:
        machine = made_up(RTX_4090, without=("onnxruntime",), providers={}, onnxruntimes=())
        assert lacks(machine, "run_onnx_cuda")[0][1] == "pip install 'dsunet[gpu]'"
        assert {"export_onnx", "convert_precision", "run_onnx_cpu"} <= impossible(machine)


class TestLooking:
    """Round a machine whose parts are made up."""

    def test_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine_module, "find", lambda: FakeCuda(RTX_4090, H100))
        monkeypatch.setattr(nvml, "driver_version", lambda: "580.95.05")
        monkeypatch.setattr(nvml, "free_memory", lambda gpu: gpu.memory // 2)
        seen = types.SimpleNamespace(
            cuda=types.SimpleNamespace(is_available=lambda: True),
            version=types.SimpleNamespace(cuda="12.6"),
        )
        monkeypatch.setitem(sys.modules, "torch", seen)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
        found = look_round()
        assert found.driver == Driver("580.95.05", "13.0", None)
        assert [present.gpu for present in found.gpus] == [RTX_4090, H100]
        assert found.gpus[0].free_memory == 12 << 30
        assert found.torch == Torch("12.6", sees_gpu=True)

    @pytest.mark.parametrize(
        "error", [ImportError("libnvinfer.so.10: cannot open"), OSError("bad\n image"), KeyError(1)]
    )
    def test_tensorrt_that_does_not_load(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
    ) -> None:
        (tmp_path / "tensorrt.py").write_text(f"raise {error!r}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        package = json.loads(doctor("--json"))["packages"]["tensorrt"]
        assert package["state"] == "broken"
        assert package["reason"] == " ".join(str(error).split())

    def test_binding_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def find() -> None:
            raise OSError("libcuda is of another architecture")

        monkeypatch.setattr(machine_module, "find", find)
        document = json.loads(doctor("--json"))
        assert document["driver"]["problem"] == "libcuda is of another architecture"
        assert not document["jobs"]["run_engine_rtx"]["possible"]

    def test_package_whose_files_are_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "safetensors", None)
        package = find_packages()["safetensors"]
        assert package.state is State.BROKEN
        version = metadata.version("safetensors")
        assert package.remedy == f"pip install --force-reinstall safetensors=={version}"

    def test_package_that_lacks_another(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "tensorrt.py").write_text("import no_such_package")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        package = find_packages()["tensorrt"]
        assert (package.state, package.reason) == (
            State.BROKEN,
            "No module named 'no_such_package'",
        )

    def test_package_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = {"onnx": "1.9.0", "timm": "1.0.100"}
        real = packages_module.installed_version
        monkeypatch.setattr(
            packages_module, "installed_version", lambda name: versions.get(name) or real(name)
        )
        packages = find_packages()
        assert packages["onnx"].state is State.OLD
        assert packages["onnx"].reason == "1.19 or later is needed"
        assert packages["onnx"].remedy == "pip install 'dsunet[export]'"
        assert packages["timm"].state is State.INSTALLED

    def test_home_is_not_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/somebody")
        error = ImportError("/home/somebody/x.so: undefined symbol: y")
        assert packages_module.one_line(error) == "~/x.so: undefined symbol: y"

    def test_extras_are_those_of_the_project(self) -> None:
        """Every command that installs an extra brings what it is printed for."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"]
        for package in find_packages().values():
            names = [requirement.partition(">")[0] for requirement in extras[package.extra]]
            assert package.distribution in names


class TestProviders:
    def test_model_is_valid(self) -> None:
        model = onnx.load_from_string(onnxruntime_backend._SMALLEST_MODEL)
        onnx.checker.check_model(model, full_check=True)

    def test_started(self) -> None:
        onnxruntime_backend.check_provider(Provider.CPU)

    def test_tried_before_other_packages_bring_their_libraries(self) -> None:
        code = (
            "import sys\n"
            "from dsunet_export.doctor import look_round\n"
            "from dsunet_runtime.backends import onnxruntime as backend\n"
            "def check(provider):\n"
            "    print(sorted({'torch', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))\n"
            "backend.check_provider = check\n"
            "look_round()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert set(done.stdout.splitlines()) == {"[]"}, done.stderr

    def test_not_built_in(self) -> None:
        import onnxruntime

        if Provider.CUDA.official_name in onnxruntime.get_available_providers():
            pytest.skip("the ONNX Runtime here has the provider cuda")
        with pytest.raises(BackendError, match="has no provider 'cuda'"):
            onnxruntime_backend.check_provider(Provider.CUDA)

    @pytest.mark.filterwarnings("ignore:Specified provider")
    def test_not_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """ONNX Runtime goes on with the CPU then, and says nothing."""
        import onnxruntime

        everything = [provider.official_name for provider in Provider]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
        monkeypatch.setattr(
            onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"]
        )
        monkeypatch.setattr(nvml, "driver_version", lambda: "580.95.05")
        monkeypatch.setattr(machine_module, "_ask_torch", lambda driver: None)
        providers = look_round().providers
        assert providers[Provider.CPU].starts
        assert providers[Provider.CUDA].starts is False
        assert "did not start" in str(providers[Provider.CUDA].problem)

    @pytest.mark.gpu
    def test_cuda_starts_where_it_says_so(self) -> None:
        found = look_round()
        if not found.gpus or Provider.CUDA not in found.providers:
            pytest.skip("no GPU, or no ONNX Runtime for one")
        assert found.providers[Provider.CUDA].starts, found.providers[Provider.CUDA].problem
        assert found.gpus[0].free_memory is None or found.gpus[0].free_memory > 0


class TestBaseDependencies:
    """Where nothing but the base dependencies is installed."""

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
        assert not any(job["possible"] for job in document["jobs"].values())
        assert (document["providers"], document["tensorrt"], document["torch"]) == ({}, {}, None)

    def test_table_names_every_command(self, site: Path) -> None:
        done = self.run(site, "doctor")
        assert done.returncode == 0, done.stderr
        lines = {line.strip() for line in done.stdout.splitlines()}
        extras = ("torch", "export", "cpu", "gpu", "rtx", "tensorrt", "cuda")
        assert {f"pip install 'dsunet[{extra}]'" for extra in extras} <= lines


def _closure(*names: str) -> Iterator[str]:
    """Distributions and what they need, but for their extras and what is not installed here."""
    for name in names:
        yield name
        for requirement in metadata.requires(name) or ():
            needed = requirement.partition(";")
            if "extra" in needed[2]:
                continue
            bare = re.split(r"[^\w.-]", needed[0])[0]
            if packages_module.installed_version(bare) is not None:
                yield from _closure(bare)


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target)
