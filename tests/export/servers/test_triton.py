"""A Triton model repository, read and computed by a stand-in for Triton."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from dsunet_runtime import Manifest, load, read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest import MaskForm, Precision, Quantization
from dsunet_runtime.backends import openvino
from dsunet_runtime.selftest.comparison import Comparison, coarse_output
from tests.export.helpers import random_frames
from tests.export.servers.helpers import frames, refused, renamed, triton, weighted, written
from tests.export.servers.triton_server import Model, RefusedError
from tests.runtime import artifacts, engines

OTHER = np.float32([5, 2, 1]) / np.float32(8)
"""Weights of another domain."""


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return frames(tmp_path / "a.onnx")


def config(folder: Path) -> ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text("utf-8"), ModelConfig())


def warmed_up(model: Model) -> int:
    """Compare the warm-up with the self-tests of the versions; the number of images."""
    images = 0
    for name, number, outputs in model.warm_up():
        manifest = Manifest.from_json((model.folder / str(number) / "model.onnx.json").read_text())
        size = next(iter(outputs.values())).shape[0]
        (first,) = (case for case in manifest.selftest if f"picture{case.picture}, " in name)
        cases = [first]
        if not model.batched:  # several pictures in one file
            alike = [
                case
                for case in manifest.selftest
                if (case.height, case.width) == (first.height, first.width)
            ]
            cases = alike[alike.index(first) :] + alike[: alike.index(first)]
        for place in range(size):
            output = {key: tensor[place] for key, tensor in outputs.items()}
            case = cases[place % len(cases)]
            assert Comparison.of(case, coarse_output(manifest.input_form, output)).passed
            images += 1
    return images


class TestModel:
    def test_of_a_real_artifact(self, trained: Path, tmp_path: Path) -> None:
        """Its masks and its warm-up are those of the artifact."""
        written(trained, "-o", tmp_path / "models")
        model = Model(tmp_path / "models/nano")
        assert warmed_up(model) == 3 + 8
        images = random_frames(2, 61, 83)
        (both,) = model.infer(None, {"image": images}).values()
        with load(trained) as segmenter:
            for image, joined in zip(images, both, strict=True):
                (alone,) = model.infer(None, {"image": image[None]})["mask"]
                mask = segmenter(image)
                assert np.array_equal(alone, mask)
                assert np.abs(joined.astype(int) - mask).max() <= 1  # sums in another order

    def test_files(self, artifact: Path, tmp_path: Path) -> None:
        result = written(artifact, "-o", tmp_path / "models")
        folder = tmp_path / "models"
        assert result.stdout == f"{folder}/a/1: {artifact}\n"
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        assert found == [
            "a", "a/1", "a/1/model.onnx", "a/1/model.onnx.json", "a/config.pbtxt", "a/warmup",
            "a/warmup/picture0.image", "a/warmup/picture1.image", "a/warmup/picture2.image",
        ]  # fmt: skip
        assert (folder / "a/1/model.onnx").read_bytes() == artifact.read_bytes()
        manifest = Manifest.from_json((folder / "a/1/model.onnx.json").read_text())
        assert manifest == read_manifest(artifact)

    def test_configuration(self, artifact: Path, tmp_path: Path) -> None:
        written(artifact, "-o", tmp_path / "models")
        found = config(tmp_path / "models/a")
        assert found.max_batch_size == 8
        assert found.dynamic_batching.preferred_batch_size == [8]
        assert found.dynamic_batching.max_queue_delay_microseconds == 1000
        assert found.input[0].dims == [-1, -1, 3]
        assert found.output[0].dims == [-1, -1]
        assert [group.kind for group in found.instance_group] == [ModelInstanceGroup.KIND_AUTO]
        assert found.version_policy.HasField("all")
        identity = found.parameters["dsunet_version_1"].string_value
        assert identity == f"test.pth, float32, sha256 {read_manifest(artifact).graph.sha256}"
        assert found.parameters["dsunet_mask"].string_value == "probability"
        assert warmed_up(Model(tmp_path / "models/a")) == 3 + 8

    def test_options(self, artifact: Path, tmp_path: Path) -> None:
        options = "--device cpu --instances 3 --threads 2 --max-batch 4 --queue-delay 0"
        written(artifact, "-o", tmp_path, "--name", "m.1", *options.split(), "--versions", "latest")
        found = config(tmp_path / "m.1")
        (group,) = found.instance_group
        assert (group.kind, group.count) == (ModelInstanceGroup.KIND_CPU, 3)
        assert found.parameters["intra_op_thread_count"].string_value == "2"
        assert found.max_batch_size == 4
        assert found.dynamic_batching.max_queue_delay_microseconds == 0
        assert found.version_policy.latest.num_versions == 1

    def test_without_joined_requests(self, artifact: Path, tmp_path: Path) -> None:
        written(artifact, "-o", tmp_path, "--name", "m", "--max-batch", 1)
        assert not config(tmp_path / "m").HasField("dynamic_batching")
        model = Model(tmp_path / "m")
        assert warmed_up(model) == 3
        with pytest.raises(RefusedError, match="batch-size"):
            model.infer(None, {"image": random_frames(2, 8, 8)})

    @pytest.mark.parametrize(("batch", "images"), [(1, 3), (2, 4), (3, 3), (5, 5)])
    def test_of_fixed_shape(self, batch: int, images: int, tmp_path: Path) -> None:
        path = frames(tmp_path / "a.onnx", batch=batch, height=24, width=32)
        written(path, "-o", tmp_path)
        model = Model(tmp_path / "a")
        assert model.config.max_batch_size == 0
        assert model.config.input[0].dims == [batch, 24, 32, 3]
        assert model.config.output[0].dims == [batch, 24, 32]
        assert warmed_up(model) == images
        line = refused(path, "-o", tmp_path, "--name", "b", "--max-batch", 2)
        assert "--max-batch 2: the artifact's batch is fixed" in line

    def test_of_the_tensors_form(self, tmp_path: Path) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx")
        result = written(path, "-o", tmp_path)
        assert (
            "has no self-test pictures that it accepts, so the model has no warm-up"
            in result.stderr
        )
        model = Model(tmp_path / "a")
        assert [list(spec.dims) for spec in model.config.input] == [[3, 16, 16], [3, 14, 14]]
        generator = np.random.default_rng(0)
        inputs = {
            name: generator.normal(size=(2, 3, side, side)).astype(np.float32)
            for name, side in (("hiera", 16), ("dino", 14))
        }
        logits = model.infer(None, inputs)["logits"]
        for place in range(2):
            expected = artifacts.expected_logits(inputs["hiera"][place], inputs["dino"][place])
            assert np.allclose(logits[place, 0], expected, atol=1e-4)

    def test_by_openvino(self, artifact: Path, tmp_path: Path) -> None:
        """Its backend fixes the batch of models that declare one."""
        result = written(artifact, "-o", tmp_path, "--backend", "openvino", "--threads", 1)
        assert "Triton lets OpenVINO compute float32 in bfloat16" in result.stderr
        model = Model(tmp_path / "a")
        assert model.config.max_batch_size == 0
        assert model.config.input[0].dims == [-1, -1, -1, 3]
        assert not model.config.HasField("dynamic_batching")
        assert model.config.parameters["INFERENCE_NUM_THREADS"].string_value == "1"
        assert warmed_up(model) == 3
        image = random_frames(2, 16, 24)
        assert (model.infer(1, {"image": image})["mask"][1] == weighted(
            image[1], artifacts.FRAMES_WEIGHTS
        )).all()  # fmt: skip

    def test_instances_of_openvino(self, artifact: Path, tmp_path: Path) -> None:
        """They share one compiled model, which computes as many requests as it has streams."""
        options = "--backend openvino --instances 2 --threads 1"
        written(artifact, "-o", tmp_path, *options.split())
        found = {key: v.string_value for key, v in config(tmp_path / "a").parameters.items()}
        parameters = {key: found[key] for key in ("NUM_STREAMS", "INFERENCE_NUM_THREADS")}
        core, _ = openvino.start()
        compiled = core.compile_model(tmp_path / "a/1/model.onnx", "CPU", parameters)
        assert compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") == 2
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 2

    def test_weights_in_other_files(self, tmp_path: Path) -> None:
        """ONNX Runtime's backend reads them from a folder, OpenVINO's reads only files."""
        path = frames(tmp_path / "a.onnx", external=True)
        written(path, "-o", tmp_path / "m")
        written(path, "-o", tmp_path / "m", "--name", "b", "--backend", "openvino")
        assert (tmp_path / "m/a/1/model.onnx/a.onnx.data").is_file()
        assert (tmp_path / "m/b/1/a.onnx.data").is_file()
        path.with_name("a.onnx.data").unlink()
        warmed_up(Model(tmp_path / "m/a"))
        warmed_up(Model(tmp_path / "m/b"))

    def test_names_that_need_quotes(self, tmp_path: Path) -> None:
        origin = 'käfer "1" \\ \x07 照片.pth'
        path = frames(tmp_path / "a.onnx", weights_origin=origin)
        written(path, "-o", tmp_path)
        found = config(tmp_path / "a").parameters["dsunet_version_1"].string_value
        assert found.startswith(f"{origin}, float32, sha256 ")

    def test_linked_artifact(self, artifact: Path, tmp_path: Path) -> None:
        (tmp_path / "b.onnx").symlink_to(artifact)
        written(tmp_path / "b.onnx", "-o", tmp_path / "m")
        assert not (tmp_path / "m/b/1/model.onnx").is_symlink()
        warmed_up(Model(tmp_path / "m/b"))


class TestVersions:
    @pytest.fixture
    def domains(self, tmp_path: Path) -> list[Path]:
        """Two artifacts of one name that share a file of weights."""
        found = []
        for name, weights in (("one", artifacts.FRAMES_WEIGHTS), ("two", OTHER)):
            (tmp_path / name).mkdir()
            path = frames(tmp_path / name / "own.onnx", weights, external=True)
            shared = path.with_name("shared.data")
            shared.write_bytes(b"backbone")
            files = (*read_manifest(path).files, digest(shared))
            found.append(renamed(path, path.with_name("b.onnx"), files=files))
        return found

    def test_domains(self, domains: list[Path], tmp_path: Path) -> None:
        result = written(*domains, "-o", tmp_path / "m", "--name", "d")
        assert ": shares" not in result.stdout.splitlines()[0]
        assert result.stdout.splitlines()[1].endswith(f"{domains[1]}, shares shared.data")
        model = Model(tmp_path / "m/d")
        images = random_frames(1, 9, 7)
        for version, weights in ((1, artifacts.FRAMES_WEIGHTS), (2, OTHER)):
            mask = model.infer(version, {"image": images})["mask"][0]
            assert (mask == weighted(images[0], weights)).all()
        assert warmed_up(model) == 2 * (3 + 8)
        one, two = (tmp_path / f"m/d/{n}/model.onnx/shared.data" for n in (1, 2))
        assert one.samefile(two)
        assert not one.samefile(domains[0].with_name("shared.data"))

    def test_added(self, domains: list[Path], tmp_path: Path) -> None:
        written(domains[0], "-o", tmp_path / "m", "--name", "d", "--instances", 2)
        file = tmp_path / "m/d/config.pbtxt"
        edited = file.read_text().replace("count: 2", "count: 5")
        file.write_text(f"{edited}# by hand, without a line break")
        written(domains[1], "-o", tmp_path / "m", "--name", "d", "--add")
        found = config(tmp_path / "m/d")
        assert found.instance_group[0].count == 5
        for number, path in enumerate(domains, 1):
            identity = found.parameters[f"dsunet_version_{number}"].string_value
            assert identity.endswith(read_manifest(path).graph.sha256)
        assert warmed_up(Model(tmp_path / "m/d")) == 2 * (3 + 8)
        one, two = (tmp_path / f"m/d/{n}/model.onnx/shared.data" for n in (1, 2))
        assert one.samefile(two)

    def test_latest(self, artifact: Path, tmp_path: Path) -> None:
        other = frames(tmp_path / "b.onnx", OTHER)
        written(artifact, "-o", tmp_path / "m", "--name", "d", "--versions", "latest")
        written(other, "-o", tmp_path / "m", "--name", "d", "--add")
        assert [*Model(tmp_path / "m/d").versions] == [2]

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"mask_form": MaskForm.STRETCHED}, "the mask differs ('stretched' and 'probability')"),
            ({"height": 24, "width": 32}, "the input differs ('image: uint8 batch×24×32×3' and"),
            ({"batch": 1}, "the input differs"),
        ],
    )
    def test_that_do_not_agree(
        self, artifact: Path, tmp_path: Path, changes: dict[str, object], match: str
    ) -> None:
        other = frames(tmp_path / "b.onnx", **changes)
        line = refused(artifact, other, "-o", tmp_path / "m", "--name", "d")
        assert f"{other} and {artifact} cannot be versions of one model: {match}" in line
        assert "--name" in line
        assert not (tmp_path / "m").exists()
        written(artifact, "-o", tmp_path / "m", "--name", "d")
        before = tree(tmp_path / "m")
        assert match in refused(other, "-o", tmp_path / "m", "--name", "d", "--add")
        assert tree(tmp_path / "m") == before

    def test_need_a_name(self, artifact: Path, tmp_path: Path) -> None:
        line = refused(artifact, artifact, "-o", tmp_path / "m", code=2)
        assert "give its name with --name" in line

    def test_nothing_to_add_to(self, artifact: Path, tmp_path: Path) -> None:
        line = refused(artifact, "-o", tmp_path / "m", "--add")
        assert f"{tmp_path}/m/a: no such model: write its first version without --add" in line
        (tmp_path / "m/a").mkdir(parents=True)
        (tmp_path / "m/a/config.pbtxt").write_text('name: "a"\n')
        assert "name a model that" in refused(artifact, "-o", tmp_path / "m", "--add")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("\n", "\r\n"),
            ('backend: "onnxruntime"', "backend:'onnxruntime' # edited"),
            ("  count: 1\n  kind: KIND_AUTO\n}", " count: 1, kind: KIND_AUTO }"),
            ("instance_group {\n  count: 1\n  kind: KIND_AUTO\n}\n", ""),
            ('name: "a"', 'name: "a"\n# backend: "openvino", kind: KIND_CPU'),
        ],
    )
    def test_adding_to_an_edited_model(
        self, old: str, new: str, artifact: Path, tmp_path: Path
    ) -> None:
        written(artifact, "-o", tmp_path / "m")
        file = tmp_path / "m/a/config.pbtxt"
        edited = file.read_bytes().replace(old.encode(), new.encode())
        assert edited != file.read_bytes()
        file.write_bytes(edited)
        written(artifact, "-o", tmp_path / "m", "--add")
        assert file.read_bytes().startswith(edited)
        assert [*Model(tmp_path / "m/a").versions] == [1, 2]

    def test_options_that_adding_ignores(self, artifact: Path, tmp_path: Path) -> None:
        line = refused(artifact, "-o", tmp_path, "--add", "--instances", 2, code=2)
        assert "--instances has no effect with --add" in line

    def test_manifest_of_a_version_is_missing(self, artifact: Path, tmp_path: Path) -> None:
        written(artifact, "-o", tmp_path / "m")
        (tmp_path / "m/a/1/model.onnx.json").unlink()
        assert "1/model.onnx.json: No such file" in refused(artifact, "-o", tmp_path / "m", "--add")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestEngines:
    def test_of_classic_tensorrt(self, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.plan", flavor=Flavor.TENSORRT)
        written(path, "-o", tmp_path / "m")
        found = config(tmp_path / "m/a")
        assert (found.platform, found.backend) == ("tensorrt_plan", "tensorrt")
        assert found.max_batch_size == 4
        assert found.dynamic_batching.preferred_batch_size == [2, 4]
        assert found.input[0].dims == [-1, -1, 3]
        assert [group.kind for group in found.instance_group] == [ModelInstanceGroup.KIND_GPU]
        assert (tmp_path / "m/a/1/model.plan").read_bytes() == path.read_bytes()
        manifest = read_manifest(path)
        assert read_manifest(tmp_path / "m/a/1/model.plan") == manifest
        assert manifest.engine
        identity = found.parameters["dsunet_version_1"].string_value
        assert identity.endswith(manifest.engine.file.sha256)

    def test_of_tensorrt_for_rtx(self, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine")
        line = refused(path, "-o", tmp_path / "m")
        assert "an engine of TensorRT for RTX: build one with `dsunet-export trt --flavor" in line

    def test_without_weights(self, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.plan", flavor=Flavor.TENSORRT, stripped=True)
        assert "build it without --strip-weights" in refused(path, "-o", tmp_path / "m")

    @pytest.mark.parametrize("batch", [(1, 1, 1), (2, 3, 4)])
    def test_batches_that_do_not_fit(self, batch: engines.Ends, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.plan", flavor=Flavor.TENSORRT, batch=batch)
        assert "build it with `--batch 1:4:8`" in refused(path, "-o", tmp_path / "m")

    def test_larger_batch_than_the_engine_takes(self, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.plan", flavor=Flavor.TENSORRT)
        line = refused(path, "-o", tmp_path / "m", "--max-batch", 5)
        assert "--max-batch 5: the engine takes batches of 1 to 4: use at most 4" in line

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ("--backend onnxruntime", "--backend onnxruntime is for ONNX files"),
            ("--device cpu", "backend runs on the GPU: omit it"),
            ("--threads 2", "--threads is for the CPU"),
        ],
    )
    def test_options_that_do_not_fit(self, options: str, match: str, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.plan", flavor=Flavor.TENSORRT)
        assert match in refused(path, "-o", tmp_path / "m", *options.split(), code=2)

    def test_beside_an_onnx_file(self, artifact: Path, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "b.plan", flavor=Flavor.TENSORRT)
        line = refused(artifact, path, "-o", tmp_path / "m", "--name", "d")
        assert "the kind of file differs ('engine' and 'ONNX')" in line


class TestRefusals:
    @pytest.mark.parametrize(
        "name", ["", "a b", "käfer", "../a", ".hidden", "a/b", "x" * 129, "照片"]
    )
    def test_names(self, name: str, artifact: Path, tmp_path: Path) -> None:
        line = refused(artifact, "-o", tmp_path / "m", f"--name={name}", code=2)
        assert "--name" in line
        assert not (tmp_path / "m").exists()

    @pytest.mark.parametrize("name", ["a b", "käfer", "照片"])
    def test_names_of_files(self, name: str, artifact: Path, tmp_path: Path) -> None:
        """They are not the name of the model, if that is given."""
        path = artifact.rename(tmp_path / f"{name}.onnx")
        assert "choose another with --name" in refused(path, "-o", tmp_path / "m", code=2)
        written(path, "-o", tmp_path / "m", "--name", "d")

    @pytest.mark.parametrize(
        ("precision", "options", "match"),
        [
            (Precision("bfloat16"), "", "add --backend openvino, or export it with --precision"),
            (Precision("bfloat16"), "--device gpu", "does not support all operators in bf16"),
            (Precision("float16"), "--backend openvino", "export it with --precision fp32 or bf16"),
            (
                Precision("float32", quantized=Quantization("float8e4m3fn", 1, 1, 1, 1, None)),
                "--device gpu",
                "build an engine with `dsunet-export trt --flavor tensorrt`",
            ),
        ],
    )
    def test_precisions(
        self, precision: Precision, options: str, match: str, artifact: Path, tmp_path: Path
    ) -> None:
        path = renamed(artifact, tmp_path / "b.onnx", precision=precision)
        assert match in refused(path, "-o", tmp_path / "m", *options.split())

    def test_bfloat16_by_openvino(self, artifact: Path, tmp_path: Path) -> None:
        path = renamed(artifact, tmp_path / "b.onnx", precision=Precision("bfloat16"))
        written(path, "-o", tmp_path / "m", "--backend", "openvino")

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ("--backend tensorrt", "is an ONNX file: build one"),
            ("--backend openvino --max-batch 4", "omit it"),
            ("--backend openvino --device gpu", "runs on the CPU: omit it"),
            ("--device gpu --threads 2", "--threads is for the CPU"),
        ],
    )
    def test_options(self, options: str, match: str, artifact: Path, tmp_path: Path) -> None:
        assert match in refused(artifact, "-o", tmp_path / "m", *options.split(), code=2)

    @pytest.mark.parametrize("options", ["--max-batch 1", "--backend openvino"])
    def test_delay_of_requests_that_are_not_joined(
        self, options: str, artifact: Path, tmp_path: Path
    ) -> None:
        line = refused(artifact, "-o", tmp_path / "m", "--queue-delay", 9, *options.split())
        assert "--queue-delay has no effect" in line
        assert not (tmp_path / "m").exists()

    def test_model_in_a_model(self, artifact: Path, tmp_path: Path) -> None:
        written(artifact, "-o", tmp_path / "m")
        before = tree(tmp_path / "m")
        line = refused(artifact, "-o", tmp_path / "m/a")
        assert f"{tmp_path}/m/a is the folder of a model: give its parent folder with -o" in line
        assert tree(tmp_path / "m") == before

    def test_existing_model(self, artifact: Path, tmp_path: Path) -> None:
        written(artifact, "-o", tmp_path / "m")
        before = tree(tmp_path / "m")
        assert f"{tmp_path}/m/a exists: add a version" in refused(artifact, "-o", tmp_path / "m")
        assert tree(tmp_path / "m") == before

    def test_beside_the_artifact(self, artifact: Path, tmp_path: Path) -> None:
        written(artifact, "-o", tmp_path)
        line = refused(artifact, "-o", tmp_path, "--name", "a.onnx")
        assert f"{artifact} exists" in line
        assert warmed_up(Model(tmp_path / "a")) == 3 + 8

    def test_warm_up_larger_than_the_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = frames(tmp_path / "a.onnx", batch=100, height=24, width=32)
        monkeypatch.setattr("dsunet_runtime.memory.available_memory", lambda: 200_000)
        line = refused(path, "-o", tmp_path / "m")
        assert "the warm-up with 100 images takes 0.0 GB" in line
        assert "--batch" in line

    def test_damaged_artifact(self, artifact: Path, tmp_path: Path) -> None:
        content = bytearray(artifact.read_bytes())
        content[40] ^= 1
        artifact.write_bytes(content)
        assert f"{artifact}: damaged" in refused(artifact, "-o", tmp_path / "m")
        assert not (tmp_path / "m").exists()

    def test_missing_weights(self, tmp_path: Path) -> None:
        path = frames(tmp_path / "a.onnx", external=True)
        path.with_name("a.onnx.data").unlink()
        assert "a.onnx.data: missing" in refused(path, "-o", tmp_path / "m")

    def test_folder_without_permission(
        self, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def locked(parent: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(parent))

        monkeypatch.setattr("dsunet_export.servers.model_folder.staging_folder", locked)
        line = refused(artifact, "-o", tmp_path / "m")
        assert f"cannot write to {tmp_path}/m: Permission denied" in line

    @pytest.mark.parametrize("add", [False, True])
    def test_full_disk(
        self, add: bool, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At the last file that is written."""
        folder = tmp_path / "m"
        folder.mkdir()
        if add:
            written(artifact, "-o", folder)
        before = tree(folder)
        write_text = Path.write_text

        def full(path: Path, text: str, **options: object) -> int:
            if path.name == "config.pbtxt":
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return write_text(path, text, **options)

        monkeypatch.setattr(Path, "write_text", full)
        line = refused(artifact, "-o", folder, *["--add"] * add)
        assert "No space left on device" in line
        assert tree(folder) == before

    def test_versions_that_cannot_be_moved(
        self, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(artifact, "-o", tmp_path / "m")
        before = tree(tmp_path / "m")

        def full(path: Path, target: Path) -> None:
            raise OSError(errno.EIO, "Input/output error", str(path))

        monkeypatch.setattr(Path, "replace", full)
        assert "Input/output error" in refused(artifact, "-o", tmp_path / "m", "--add")
        assert tree(tmp_path / "m") == before


def test_the_stand_in_refuses(artifact: Path, tmp_path: Path) -> None:
    """A configuration that Triton would not load."""
    written(artifact, "-o", tmp_path)
    file = tmp_path / "a/config.pbtxt"
    text = file.read_text()
    for before, after in [
        ("dims: [ -1, -1, 3 ]", "dims: [ -1, -1, -1, 3 ]"),
        ("TYPE_UINT8", "TYPE_FP32"),
        ('name: "a"', 'name: "b"'),
        ("preferred_batch_size: [ 8 ]", "preferred_batch_size: [ 16 ]"),
        ('platform: "onnxruntime_onnx"', 'platform: "onnxruntime"'),
        ("max_batch_size: 8", "max_batch_size: 0"),
    ]:
        assert before in text
        file.write_text(text.replace(before, after))
        with pytest.raises(RefusedError):
            Model(tmp_path / "a")
    file.write_text(text.replace("max_batch_size", "max_batchsize"))
    with pytest.raises(text_format.ParseError):
        Model(tmp_path / "a")


def test_the_manifest_is_json(artifact: Path, tmp_path: Path) -> None:
    written(artifact, "-o", tmp_path)
    assert (
        json.loads((tmp_path / "a/1/model.onnx.json").read_text())["weights_origin"] == "test.pth"
    )


def test_without_arguments() -> None:
    assert triton().exit_code == 2
