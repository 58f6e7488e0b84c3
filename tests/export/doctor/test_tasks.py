"""Tasks that can run on simulated machines, and what the others miss."""

from __future__ import annotations

import dataclasses

import pytest

from dsunet_export.doctor.doctor_report import format_report
from dsunet_export.doctor.machine import Cpu, InstalledProvider, InstalledTorch, NvidiaDriver
from dsunet_export.doctor.tasks import check_tasks
from dsunet_runtime.extras import install_command
from dsunet_runtime.provider import Provider
from tests.export.engines import H100, RTX_4090
from tests.export.machines import impossible, lacks, made_up


class TestMachines:
    def test_everything(self) -> None:
        assert impossible(made_up(RTX_4090)) == set()
        (build,) = (task for task in check_tasks(made_up(RTX_4090)) if task.name == "build_rtx")
        assert "for this NVIDIA GeForce RTX 4090 (8.9)" in str(build.remark)

    def test_no_driver(self) -> None:
        machine = made_up(driver=NvidiaDriver(None, None, "no NVIDIA driver works here"))
        assert impossible(machine) == {
            "build_tensorrt", "run_onnx_cuda", "run_onnx_tensorrt", "run_onnx_rtx",
            "run_engine_rtx", "run_engine_tensorrt",
        }  # fmt: skip
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert missing == "there is no NVIDIA driver"
        assert remedy == "install NVIDIA's driver: https://www.nvidia.com/drivers"

    def test_training_and_evaluation(self) -> None:
        machine = made_up(RTX_4090, without=("pysodmetrics", "lightning-fabric"))
        assert impossible(machine) == {"train", "evaluate_checkpoints", "evaluate_masks"}
        assert [remedy for _, remedy in lacks(machine, "train")] == [
            install_command("evaluate"),
            install_command("train"),
        ]
        assert impossible(made_up(RTX_4090, without=("scikit-learn",))) == {"explain"}
        (train,) = (task for task in check_tasks(made_up(RTX_4090)) if task.name == "train")
        assert train.remark == "on a GPU"
        blind = made_up(RTX_4090, torch=InstalledTorch("13.0", sees_gpu=False))
        (train,) = (task for task in check_tasks(blind) if task.name == "train")
        assert train.remark == "on the CPU: PyTorch finds no GPU"

    def test_gpu_that_rtx_does_not_support(self) -> None:
        machine = made_up(H100)
        assert impossible(machine) == {"run_engine_rtx"}
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert "does not support this NVIDIA H100 80GB HBM3 (9.0), only 7.5, " in str(missing)
        assert remedy == "build with --flavor tensorrt"
        (build,) = (task for task in check_tasks(machine) if task.name == "build_rtx")
        assert "not for this NVIDIA H100 80GB HBM3 (9.0)" in str(build.remark)
        alone = made_up(H100, without=("tensorrt",))
        assert lacks(alone, "run_engine_rtx")[0][1] == install_command("tensorrt")

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
        machine = made_up(RTX_4090, driver=NvidiaDriver("570.1", "12.8", None))
        assert impossible(machine) == {"build_tensorrt", "run_engine_rtx", "run_engine_tensorrt"}
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert missing == "the driver supports CUDA up to 12.8, and this TensorRT for RTX needs 13"
        assert remedy == "install a newer driver: https://www.nvidia.com/drivers"

    def test_no_binding(self) -> None:
        """Whether there is a GPU is then unknown, and none is reported as missing."""
        driver = NvidiaDriver("580.95.05", None, "neither cuda-python nor PyCUDA is installed")
        machine = made_up(driver=driver, without=("cuda-python", "pycuda"))
        expected = [("cuda-python is not installed", install_command("cuda"))]
        assert lacks(machine, "run_engine_rtx") == expected
        assert "run_onnx_cuda" not in impossible(machine)

    def test_pycuda_will_do(self) -> None:
        assert impossible(made_up(RTX_4090, without=("cuda-python",))) == set()

    def test_cuda_that_does_not_start(self) -> None:
        machine = made_up(driver=NvidiaDriver("580.95.05", None, "CUDA_ERROR_NO_DEVICE"))
        ((missing, remedy),) = lacks(machine, "run_engine_rtx")
        assert missing == "CUDA_ERROR_NO_DEVICE"
        assert "CUDA_VISIBLE_DEVICES" in str(remedy)

    def test_onnxruntime_for_the_cpu(self) -> None:
        cpu = {Provider.CPU: InstalledProvider(starts=True)}
        machine = made_up(RTX_4090, providers=cpu, onnxruntimes=("onnxruntime",))
        ((missing, remedy),) = lacks(machine, "run_onnx_cuda")
        assert missing == "the installed ONNX Runtime was built without provider cuda"
        assert remedy == f"pip uninstall -y onnxruntime && {install_command('gpu')}"

    def test_two_onnxruntimes(self) -> None:
        both = ("onnxruntime", "onnxruntime-gpu")
        cpu = {Provider.CPU: InstalledProvider(starts=True)}
        machine = made_up(RTX_4090, providers=cpu, onnxruntimes=both)
        ((_, remedy),) = lacks(machine, "run_onnx_cuda")
        expected = f"pip uninstall -y onnxruntime onnxruntime-gpu && {install_command('gpu')}"
        assert remedy == expected
        assert "overwrite each other" in format_report(machine, check_tasks(machine))

    def test_provider_that_does_not_start(self) -> None:
        providers = {
            Provider.CPU: InstalledProvider(starts=True),
            Provider.CUDA: InstalledProvider(starts=False, problem="libcudnn.so.9 is not there"),
        }
        machine = made_up(RTX_4090, providers=providers)
        ((missing, remedy),) = lacks(machine, "run_onnx_cuda")
        assert missing == "libcudnn.so.9 is not there"
        assert remedy == "pip install 'onnxruntime-gpu[cuda,cudnn]'"

    def test_export_beside_onnxruntime_for_gpus(self) -> None:
        """The extra would install ONNX Runtime for CPUs, which overwrites the other build."""
        machine = made_up(RTX_4090, without=("onnx", "onnxscript", "timm"))
        remedies = [remedy for _, remedy in lacks(machine, "export_onnx")]
        assert remedies == [
            install_command("torch"), "pip install onnx", "pip install onnxscript",
        ]  # fmt: skip
        machine = dataclasses.replace(machine, onnxruntimes=("onnxruntime",))
        assert install_command("export") in dict(lacks(machine, "export_onnx")).values()

    def test_no_onnxruntime(self) -> None:
        machine = made_up(RTX_4090, without=("onnxruntime",), providers={}, onnxruntimes=())
        assert lacks(machine, "run_onnx_cuda")[0][1] == install_command("gpu")
        assert {"export_onnx", "convert_precision", "run_onnx_cpu"} <= impossible(machine)
        assert "run_onnx_openvino" not in impossible(machine)

    def test_rtx_plugin(self) -> None:
        machine = made_up(RTX_4090, without=("onnxruntime-ep-nv-tensorrt-rtx",))
        assert impossible(machine) == {"run_onnx_rtx"}
        assert lacks(machine, "run_onnx_rtx")[0][1] == install_command("rtx-provider")
        providers = {Provider.RTX: InstalledProvider(starts=False, problem="finds no GPU")}
        ((missing, remedy),) = lacks(made_up(RTX_4090, providers=providers), "run_onnx_rtx")
        assert missing == "finds no GPU"
        assert remedy.startswith("pip install --upgrade onnxruntime-ep-nv-tensorrt-rtx, and the ")

    def test_openvino(self) -> None:
        machine = made_up(RTX_4090, without=("openvino",))
        assert impossible(machine) == {"run_onnx_openvino"}
        assert lacks(machine, "run_onnx_openvino")[0][1] == install_command("openvino")
        providers = {Provider.OPENVINO: InstalledProvider(starts=False, problem="no plugin")}
        ((missing, _),) = lacks(made_up(RTX_4090, providers=providers), "run_onnx_openvino")
        assert missing == "no plugin"

    @pytest.mark.parametrize(
        ("instructions", "words"),
        [
            (("amx_bf16", "avx512_bf16"), "AMX: use bf16 and int8"),
            (("avx512_bf16", "avx512_vnni"), "AVX512_BF16 without AMX: try bf16"),
            (("avx_vnni",), "neither AMX nor AVX512_BF16"),
        ],
    )
    def test_what_openvino_gains(self, instructions: tuple[str, ...], words: str) -> None:
        machine = made_up(cpu=Cpu("Xeon", instructions), without=("openvino",))
        report = " ".join(format_report(machine, check_tasks(machine)).split())
        assert f"CPU Xeon; {words}" in report
