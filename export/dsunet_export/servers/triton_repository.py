"""A Triton model repository: the folder of a model, with a folder for each version.

    models/NAME/config.pbtxt
    models/NAME/warmup/        inputs of the warm-up requests
    models/NAME/1/model.onnx   or model.plan; with further files a folder, for ONNX Runtime
    models/NAME/1/model.onnx.json  the manifest, which Triton does not read

A model appears under its name when it is complete.  A weights file that an earlier version already
has is a hard link to it where the file system supports that.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet_export.errors import ExportError
from dsunet_export.servers.checked_artifact import CheckedArtifact
from dsunet_export.servers.model_folder import model_staging
from dsunet_export.servers.triton_config import describe_version, make_config, warmup_file
from dsunet_export.servers.triton_model import Batching, check_agreement
from dsunet_export.servers.triton_options import (
    TritonBackend,
    TritonDevice,
    TritonOptions,
    check_backend,
)
from dsunet_export.servers.triton_warmup import Sample, make_samples, raw
from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.files import link_or_copy, open_regular
from dsunet_runtime.json_text import MAX_BYTES
from dsunet_runtime.message_text import reason

CONFIG = "config.pbtxt"
_WARMUP = "warmup"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_COMMENT = re.compile(r"#.*")
_BACKEND = re.compile(rf"""\bbackend\s*:\s*["']({"|".join(TritonBackend)})["']""")
_DEVICE = re.compile(rf"\bkind\s*:\s*KIND_({'|'.join(TritonDevice).upper()})\b")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model that was written."""

    number: int
    artifact: CheckedArtifact
    linked: tuple[str, ...] = ()
    """Names of its files that are links to those of an earlier version."""


def create_model(
    repository: Path,
    artifacts: Sequence[CheckedArtifact],
    options: TritonOptions,
    notice: Callable[[str], None],
) -> list[Version]:
    """Write a model whose versions 1, 2, … are the artifacts.

    `notice` is called with one line for each notice.

    Raises ExportError if the model exists, if the artifacts do not agree, if the backend cannot
    serve them, or if the folder cannot be written.
    """
    model = repository / options.name
    if (repository / CONFIG).exists():
        raise ExportError(f"{repository} is the folder of a model: give its parent folder with -o")
    if model.exists() or model.is_symlink():
        raise ExportError(
            f"{model} exists: add a version to it with --add, choose another --name, or remove it"
        )
    first = artifacts[0]
    for artifact in artifacts:
        check_backend(str(artifact.path), artifact.manifest, options)
        check_agreement(str(first.path), first.manifest, str(artifact.path), artifact.manifest)
    batching = Batching.of(first.manifest, options)
    if options.delay is not None and batching.largest <= 1:
        raise ExportError("--queue-delay has no effect, because no requests are joined: omit it")
    samples = make_samples(first.manifest, batching.largest)
    if not samples:
        notice(
            f"{first.path} has no self-test pictures that it accepts, so the model has no warm-up"
        )
    if options.backend is TritonBackend.OPENVINO and first.manifest.precision.compute == "float32":
        notice(
            "Triton lets OpenVINO compute float32 in bfloat16 on CPUs that support it: compare "
            "masks, or use --backend onnxruntime"
        )
    config = make_config(first.manifest, options, batching, samples)
    with model_staging(repository) as staged:
        folder = staged / model.name
        folder.mkdir()
        versions = _write_versions(folder, artifacts, options.backend, {}, 0)
        _write_samples(folder, samples)
        _write_config(folder, config, versions)
        folder.rename(model)
    return versions


def add_versions(model: Path, artifacts: Sequence[CheckedArtifact]) -> list[Version]:
    """Add the artifacts as the next versions of a model, whose configuration stays as it is.

    Only their descriptions are appended to it.  Raises ExportError if there is no such model, and
    like `create_model`.
    """
    config, numbers = _read_config(model), _numbers(model)
    code = _COMMENT.sub("", config)
    backend, device = _BACKEND.search(code), _DEVICE.search(code)
    if not (numbers and backend):
        raise ExportError(
            f"{model} has no versions, or no known `backend` in {CONFIG}: name a model that "
            f"`dsunet-export triton` wrote"
        )
    place = TritonDevice(device[1].lower()) if device else None
    options = TritonOptions(model.name, TritonBackend(backend[1]), place)
    last = model / str(numbers[-1])
    for artifact in artifacts:
        check_backend(str(artifact.path), artifact.manifest, options)
        check_agreement(
            str(last), _read_manifest(last, options.backend), str(artifact.path), artifact.manifest
        )
    with model_staging(model) as staged:
        versions = _write_versions(
            staged, artifacts, options.backend, _weights(model, options.backend), numbers[-1]
        )
        _write_config(staged, config, versions)
        _move(staged, model, versions)
    return versions


def _write_versions(
    folder: Path,
    artifacts: Sequence[CheckedArtifact],
    backend: TritonBackend,
    weights: dict[FileDigest, Path],
    before: int,
) -> list[Version]:
    """Write the artifacts to folders with the numbers that follow `before`.

    `weights` are files that versions have already; those that are written are added to it.
    """
    versions = []
    for number, artifact in enumerate(artifacts, before + 1):
        target = folder / str(number)
        files = artifact.manifest.files
        if files and backend is TritonBackend.ONNXRUNTIME:
            target /= backend.file  # where ONNX Runtime's backend looks for several files
        target.mkdir(parents=True)
        shutil.copyfile(artifact.path, target / backend.file)
        linked = []
        for file in files:
            new = target / file.name
            if earlier := weights.get(file):
                link_or_copy(earlier, new)
                if new.samefile(earlier):
                    linked.append(file.name)
            else:
                shutil.copyfile(artifact.path.with_name(file.name), new)
                weights[file] = new
        manifest = artifact.manifest.to_json(indent=2)
        _manifest_file(folder / str(number), backend).write_text(manifest, encoding="utf-8")
        versions.append(Version(number, artifact, tuple(linked)))
    return versions


def _write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    (folder / _WARMUP).mkdir()
    for sample in samples:
        for name, tensor in sample.inputs.items():
            (folder / _WARMUP / warmup_file(sample, name)).write_bytes(raw(tensor))


def _write_config(folder: Path, config: str, versions: Sequence[Version]) -> None:
    """Write a configuration with the descriptions of versions at its end."""
    added = [describe_version(version.number, version.artifact.manifest) for version in versions]
    text = "".join([config.rstrip("\n"), "\n", *added])  # an editor may have left a comment open
    (folder / CONFIG).write_text(text, encoding="utf-8")


def _move(staged: Path, model: Path, versions: Sequence[Version]) -> None:
    """Move versions, then the configuration, into a model; all of them or none."""
    moved = []
    try:
        for version in versions:
            new = model / str(version.number)
            (staged / new.name).rename(new)
            moved.append(new)
        (staged / CONFIG).replace(model / CONFIG)
    except OSError:
        for folder in moved:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _read_config(model: Path) -> str:
    try:
        with open_regular(model / CONFIG) as file:
            return file.read(MAX_BYTES).decode("utf-8")
    except FileNotFoundError as error:
        raise ExportError(
            f"{model}: no such model: write its first version without --add"
        ) from error
    except UnicodeDecodeError as error:
        raise ExportError(f"{model / CONFIG}: not text") from error
    except OSError as error:
        raise ExportError(f"{model / CONFIG}: {reason(error)}") from error


def _numbers(model: Path) -> list[int]:
    """Return the numbers of a model's versions, ascending."""
    return sorted(int(path.name) for path in model.iterdir() if _VERSION.fullmatch(path.name))


def _manifest_file(version: Path, backend: TritonBackend) -> Path:
    """Return the path of a version's manifest."""
    return engine_manifest_file(version / backend.file)


def _read_manifest(version: Path, backend: TritonBackend) -> Manifest:
    file = _manifest_file(version, backend)
    try:
        with open_regular(file) as opened:
            return Manifest.from_json(opened.read(MAX_BYTES).decode("utf-8"))
    except (OSError, UnicodeDecodeError, ArtifactError) as error:
        raise ExportError(
            f"{file}: {reason(error)}: without it, no version can be added; use another --name"
        ) from error


def _weights(model: Path, backend: TritonBackend) -> dict[FileDigest, Path]:
    """Return the external weights of a model's versions; damaged files are left out."""
    found = {}
    for number in _numbers(model):
        folder = model / str(number)
        for expected in _read_manifest(folder, backend).files:
            for path in (folder / backend.file / expected.name, folder / expected.name):
                if path.is_file() and digest(path) == expected:
                    found[expected] = path
    return found
