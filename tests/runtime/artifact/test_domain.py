"""An engine with the trained weights of another domain, on stand-ins of TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_runtime import ArtifactError, BackendError, SelfTestError, read_manifest
from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.manifest import Manifest, MaskForm, Precision, SelfTestCase
from dsunet_runtime.cli import app
from dsunet_runtime.selftest.coarse import Coarse, shortened
from dsunet_runtime.selftest.pictures import picture
from tests.runtime import artifacts, engines
from tests.runtime.conftest import Machine
from tests.runtime.selftests import SIZES, cases_for
from tests.runtime.test_segmenter import random_image


def mask_of_domain(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The domain's weights are those of the engine in reverse."""
    return artifacts.expected_frames_mask(rgb[..., ::-1])


def cases_of_domain() -> tuple[SelfTestCase, ...]:
    cases = []
    for case, (height, width) in zip(cases_for(), SIZES, strict=True):
        coarse = Coarse.of(mask_of_domain(picture(case.picture, height, width)))
        blocks, points = shortened(coarse.blocks), shortened(coarse.points)
        cases.append(replace(case, blocks=blocks, points=points))
    return tuple(cases)


@pytest.fixture
def shared(tmp_path: Path) -> FileDigest:
    path = tmp_path / "backbone-0123456789abcdef.data"
    path.write_bytes(b"frozen weights")
    return digest(path)


@pytest.fixture
def engine(machine: Machine, tmp_path: Path, shared: FileDigest) -> Path:
    return engines.frames(tmp_path / "a.engine", shared_weights=shared)


@pytest.fixture
def domain(tmp_path: Path, shared: FileDigest) -> Path:
    return write_domain(tmp_path, files=(shared,))


def write_domain(folder: Path, name: str = "weights", **changes: object) -> Path:
    path = artifacts.frames(folder / "b.onnx")
    model, manifest = onnx.load(path), read_manifest(path)
    (weights,) = model.graph.initializer
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values.ravel()[::-1].reshape(values.shape), name))
    for node in model.graph.node:
        node.input[:] = [name if each == "weights" else each for each in node.input]
    fields = {"selftest": cases_of_domain(), "weights_origin": "b.pth", **changes}
    return artifacts.write(path, model, replace(manifest, **fields))  # type: ignore[arg-type]


def refused(engine: Path, domain: Path, match: str, kind: type[Exception] = ArtifactError) -> None:
    with pytest.raises(kind, match=match) as caught:
        dsunet_runtime.load(engine, domain=domain)
    assert "\n" not in str(caught.value)


def test_computes_with_the_domains_weights(engine: Path, domain: Path) -> None:
    image = random_image(5, 4)
    with dsunet_runtime.load(engine) as own, dsunet_runtime.load(engine, domain=domain) as other:
        np.testing.assert_array_equal(own(image), artifacts.expected_frames_mask(image))
        np.testing.assert_array_equal(other(image), mask_of_domain(image))
        assert other.manifest.weights_origin == "b.pth"
        assert other.manifest.engine == own.manifest.engine


def test_the_self_test_follows_every_swap(
    engine: Path, domain: Path, tmp_path: Path, shared: FileDigest
) -> None:
    dsunet_runtime.load(engine, domain=domain).close()
    assert not list(tmp_path.glob("*.selftest.json"))
    write_domain(tmp_path, files=(shared,), selftest=cases_for())  # as if nothing were swapped
    for _ in range(2):
        refused(engine, domain, "does not compute what the artifact was exported", SelfTestError)
    dsunet_runtime.load(engine, domain=domain, selftest="never").close()
    assert not list(tmp_path.glob("*.selftest.json"))


def test_without_references_that_fit(engine: Path, tmp_path: Path, shared: FileDigest) -> None:
    domain = write_domain(tmp_path, files=(shared,), selftest=())
    refused(engine, domain, r"a\.engine: .*self-test")


def other_form(manifest: Manifest) -> MaskForm:
    return next(form for form in MaskForm if form is not manifest.mask_form)


Changes = dict[str, Callable[[Manifest], object]]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"files": lambda _: ()}, r"frozen weights are not those of a\.engine, in backbone-0123"),
        ({"mask_form": other_form}, "graph of a.engine in mask form: export"),
        ({"model": lambda m: m.model | {"preset": "b"}}, "in model: export it with the same opt"),
        ({"precision": lambda _: Precision("float16")}, "in precision: export it with the same"),
    ],
)
def test_another_network(
    engine: Path, tmp_path: Path, shared: FileDigest, changes: Changes, match: str
) -> None:
    plain = read_manifest(artifacts.frames(tmp_path / "plain.onnx"))
    fields = {name: change(plain) for name, change in changes.items()}
    refused(engine, write_domain(tmp_path, **({"files": (shared,)} | fields)), match)


def test_an_engine_that_takes_no_others(machine: Machine, tmp_path: Path, domain: Path) -> None:
    engine = engines.frames(tmp_path / "a.engine")
    refused(
        engine, domain, r"a\.engine: its weights cannot be exchanged: build it with `dsunet-exp"
    )


def test_what_is_no_onnx_artifact(engine: Path, domain: Path, tmp_path: Path) -> None:
    refused(engine, engine, r"a\.engine: is an engine: name the ONNX file of the domain")
    refused(engine, tmp_path / "missing.onnx", r"missing\.onnx: No such file")
    refused(domain, domain, r"b\.onnx: domain applies to engines", BackendError)


def test_damage(engine: Path, domain: Path, shared: FileDigest) -> None:
    frozen = domain.with_name(shared.name)
    frozen.write_bytes(b"FROZEN weights")
    refused(engine, domain, rf"{shared.name}: not the file that b\.onnx was exported with")
    frozen.unlink()
    refused(engine, domain, rf"{shared.name}: missing; b\.onnx stores its weights in it")


def test_weights_that_tensorrt_does_not_take(
    machine: Machine, engine: Path, domain: Path, tmp_path: Path, shared: FileDigest
) -> None:
    machine.trt.fails = {"refit"}
    refused(engine, domain, "cannot be refitted with its weights: weights are mi", BackendError)
    write_domain(tmp_path, "others", files=(shared,))
    refused(engine, domain, r"b\.onnx: its weights cannot be loaded into the engine", BackendError)
    assert machine.device.closed


def test_commands(engine: Path, domain: Path, tmp_path: Path) -> None:
    image = random_image(50, 40)
    Image.fromarray(image).save(tmp_path / "image.png")
    given = [str(tmp_path / "image.png"), "-o", str(tmp_path / "masks"), "--domain", str(domain)]
    result = CliRunner().invoke(app, ["predict", str(engine), *given])
    assert result.exit_code == 0, result.output
    mask = np.asarray(Image.open(tmp_path / "masks/image.png"))
    np.testing.assert_array_equal(mask, mask_of_domain(image))
    result = CliRunner().invoke(app, ["selftest", str(engine), "--domain", str(domain)])
    assert result.exit_code == 0, result.output
    assert not list(tmp_path.glob("*.selftest.json"))
    result = CliRunner().invoke(app, ["selftest", str(domain), "--domain", str(domain)])
    assert result.exit_code == 2
    assert "--domain applies to engines" in " ".join(result.stderr.split())
