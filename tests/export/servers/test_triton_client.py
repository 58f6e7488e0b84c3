"""The client of examples/, against the stand-in for Triton."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tritonclient.http import InferenceServerClient

from dsunet_runtime import load
from tests.export.servers.helpers import frames, weighted, written
from tests.export.servers.triton_server import load_repository, serve, serve_grpc
from tests.pages.commands import ROOT

OTHER = np.float32([5, 2, 1]) / np.float32(8)


def client(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "examples/triton_client.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.fixture(scope="module")
def repository(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    written(trained, "-o", folder / "models")
    domains = [frames(folder / "one.onnx"), frames(folder / "two.onnx", OTHER)]
    written(*domains, "-o", folder / "models", "--name", "domains")
    return folder / "models"


@pytest.fixture(scope="module", params=["http", "grpc"])
def server(request: pytest.FixtureRequest, repository: Path) -> Iterator[list[str]]:
    """The options of the client for it."""
    models = load_repository(repository)
    with (serve if request.param == "http" else serve_grpc)(models) as url:
        yield ["--url", url, *["--grpc"] * (request.param == "grpc")]


def test_a_photograph(server: list[str], trained: Path, tmp_path: Path) -> None:
    photo, mask = ROOT / "assets/camera.jpg", tmp_path / "mask.png"
    result = client(photo, mask, "--model", "nano", *server)
    assert (result.returncode, result.stderr) == (0, "")
    with load(trained) as segmenter, Image.open(mask) as opened:
        assert opened.mode == "L"
        assert (np.asarray(opened) == segmenter(photo)).all()


@pytest.mark.parametrize(
    ("version", "weights"), [("1", [1, 2, 5]), ("2", [5, 2, 1]), ("", [5, 2, 1])]
)
def test_a_version(server: list[str], tmp_path: Path, version: str, weights: list[int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (11, 17, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    options = ["--version", version] if version else []
    result = client(tmp_path / "a.png", tmp_path / "m.png", "--model", "domains", *options, *server)
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(tmp_path / "m.png") as opened:
        expected = weighted(image, np.float32(weights) / 8)
        assert (np.asarray(opened) == expected).all()


def test_what_people_type(server: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    _, url, *transport = server
    options = ["--model", "domains", "--url", f"http://{url}/", *transport]
    assert client(tmp_path / "a.png", tmp_path / "m.png", *options).returncode == 0
    result = client(tmp_path / "a.png", tmp_path / "m", *options)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "unknown file extension" in result.stderr


def test_a_version_that_is_not_there(server: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    result = client(
        tmp_path / "a.png", tmp_path / "m.png", "--model", "domains", "--version", 3, *server
    )
    assert result.returncode == 1
    assert "unknown version 3" in result.stderr
    assert not (tmp_path / "m.png").exists()


@pytest.mark.parametrize("transport", [[], ["--grpc"]])
def test_no_server(tmp_path: Path, transport: list[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    where = ["--model", "m", "--url", "127.0.0.1:9", *transport]
    result = client(tmp_path / "a.png", tmp_path / "m.png", *where)
    assert result.returncode == 1
    assert result.stderr.startswith("triton_client.py: ")
    assert "127.0.0.1:9: " in result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_served_can_be_identified(repository: Path, trained: Path) -> None:
    with serve(load_repository(repository)) as url:
        client = InferenceServerClient(url)
        found = client.get_model_config("nano")["parameters"]
        client.close()
    assert found["dsunet_version_1"]["string_value"].startswith("nano.safetensors, float32, sha256")
