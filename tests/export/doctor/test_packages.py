"""Installed packages, and whether they load."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import dsunet_export.doctor.packages as packages_module
from dsunet_export.doctor.packages import PackageState, find_packages
from dsunet_runtime.extras import install_command, missing_package

ROOT = Path(__file__).parents[3]


def test_package_whose_files_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    package = find_packages()["safetensors"]
    assert package.state is PackageState.BROKEN
    version = metadata.version("safetensors")
    assert package.remedy == f"pip install --force-reinstall safetensors=={version}"


def test_package_that_lacks_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    package = find_packages()["tensorrt"]
    assert (package.state, package.reason) == (
        PackageState.BROKEN,
        "No module named 'no_such_package'",
    )


def test_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnx": "1.9.0", "timm": "1.0.100"}
    real = packages_module.installed_version
    monkeypatch.setattr(
        packages_module, "installed_version", lambda name: versions.get(name) or real(name)
    )
    packages = find_packages()
    assert packages["onnx"].state is PackageState.OLD
    assert packages["onnx"].reason == "1.19 or later is needed"
    assert packages["onnx"].remedy == install_command("export")
    assert packages["timm"].state is PackageState.INSTALLED


def test_home_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    error = ImportError("/home/somebody/x.so: undefined symbol: y")
    assert packages_module.one_line(error) == "~/x.so: undefined symbol: y"


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container: no HOME, and no entry for the user in the list of them."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", _no_entry)
    assert packages_module.one_line(ImportError("/x.so: undefined")) == "/x.so: undefined"
    monkeypatch.setenv("HOME", "/absent")
    assert packages_module.one_line(ImportError("/absent/x.so")) == "~/x.so"


def _no_entry(uid: int) -> None:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def test_extras_are_those_of_the_project() -> None:
    """Every printed command that installs an extra installs the missing package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for package in find_packages().values():
        names = [requirement.partition(">")[0] for requirement in extras[package.extra]]
        assert package.distribution in names


def test_a_missing_package_has_the_same_name_in_messages() -> None:
    for known in packages_module._KNOWN:
        error = ModuleNotFoundError(name=known.module)
        assert missing_package(error) == known.distribution
