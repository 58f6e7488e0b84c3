"""GPUs by the names that users and drivers use."""

from __future__ import annotations

import pytest

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.gpus import GPUS, describe_gpus, find_gpu


class TestGpus:
    @pytest.mark.parametrize(
        ("text", "name", "compute_capability"),
        [
            ("rtx4090", "GeForce RTX 4090", "8.9"),
            ("RTX 4090", "GeForce RTX 4090", "8.9"),
            ("rtx-4090", "GeForce RTX 4090", "8.9"),
            ("geforce rtx 4090", "GeForce RTX 4090", "8.9"),
            ("4090", "GeForce RTX 4090", "8.9"),
            ("NVIDIA GeForce RTX 3080 Ti Laptop GPU", "GeForce RTX 3080 Ti", "8.6"),
            ("rtx4070tisuper", "GeForce RTX 4070 Ti", "8.9"),
            ("rtx2080ti", "GeForce RTX 2080 Ti", "7.5"),
            ("Quadro RTX 6000", "Quadro RTX 6000", "7.5"),
            ("rtx a6000", "RTX A6000", "8.6"),
            ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", "8.9"),
            ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell", "12.0"),
            ("NVIDIA RTX PRO 4000 Blackwell SFF Edition", "RTX PRO 4000 Blackwell", "12.0"),
            ("NVIDIA RTX PRO 500 Blackwell Generation Laptop GPU", "RTX PRO 500 Blackwell", "12.0"),
            ("NVIDIA RTX 4000 SFF Ada Generation", "RTX 4000 Ada", "8.9"),
            ("NVIDIA GeForce RTX 5090 D v2", "GeForce RTX 5090", "12.0"),
            ("NVIDIA GeForce RTX 2060 with Max-Q Design", "GeForce RTX 2060", "7.5"),
            ("NVIDIA GeForce RTX 3050 6GB Laptop GPU", "GeForce RTX 3050", "8.6"),
            ("NVIDIA GeForce RTX 3050 A Laptop GPU", "GeForce RTX 3050 A", "8.9"),
            ("NVIDIA GH200 144G HBM3e", "GH200", "9.0"),
            ("NVIDIA A100-SXM4-40GB", "A100", "8.0"),
            ("NVIDIA B300 SXM6 AC", "B300", "10.3"),
            ("NVIDIA H100 80GB HBM3", "H100", "9.0"),
            ("NVIDIA L4", "L4", "8.9"),
            ("Tesla T4", "T4", "7.5"),
            ("jetson-orin-nano", "Jetson Orin Nano", "8.7"),
            ("thor", "Jetson AGX Thor", "11.0"),
            ("Jetson Thor", "Jetson AGX Thor", "11.0"),
            ("orin", "Jetson AGX Orin", "8.7"),
        ],
    )
    def test_spellings(self, text: str, name: str, compute_capability: str) -> None:
        gpu = find_gpu(text)
        assert (gpu.name, gpu.compute_capability) == (name, compute_capability)

    def test_every_name_is_found_and_printed(self) -> None:
        table = describe_gpus(())
        for gpu in GPUS:
            assert find_gpu(gpu.name) == gpu
            assert gpu.name in table

    @pytest.mark.parametrize("text", ["rtx 6000", "rtx 4000"])
    def test_names_that_stand_for_several(self, text: str) -> None:
        with pytest.raises(ExportError, match=r"did you mean .*[46]000"):
            find_gpu(text)

    @pytest.mark.parametrize("text", ["", "?", "rx7900"])
    def test_unknown(self, text: str) -> None:
        with pytest.raises(ExportError, match=r"unknown GPU .*: .*`--gpu list`"):
            find_gpu(text)
