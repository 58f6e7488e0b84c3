"""The run folder: its files, config.json and log.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsunet.checkpoints.checksum import PLACEHOLDER, Checksum, verify_checksum, write_with_checksum
from dsunet.checkpoints.run_checkpoint import BEST, LAST
from dsunet.errors import ConfigError, TrainingError
from dsunet.network.config import ABSENT_IN_EARLIER_FILES, DSUNetConfig
from dsunet.training.options import TrainingOptions
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular, write_whole
from dsunet_runtime.json_text import MAX_BYTES, parse_object
from dsunet_runtime.message_text import reason
from dsunet_runtime.plain_values import FieldError, decode, encode

CONFIG_VERSION = 6
"""Version 3 added `dino_loss` and `drop_hiera`; version 4 replaced the latter by `blend_hiera`;
version 5 added `mismatch`; version 6 added the model's `decoder`, `hiera_size`, `dino_size`,
`distillation`, `teacher_sha256` and `unlabelled`."""

_OLDEST_VERSION = 2
_ADDED_OPTIONS = {
    "dino_loss": 0.0,
    "blend_hiera": 0.0,
    "mismatch": 0.0,
    "hiera_size": None,
    "dino_size": None,
    "distillation": None,
}
"""Options that later versions added, with the values that have no effect."""


LogRow = dict[str, float]
"""A line of log.csv, by column."""


@dataclass(frozen=True, slots=True)
class RunData:
    """The images and masks of a run."""

    pairs: int
    unlabelled: int
    val_pairs: int
    sha256: str
    """`TrainingData.sha256`."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The content of config.json: everything that a run depends on."""

    run: str
    """Random identifier of the run, in hexadecimal digits."""
    options: TrainingOptions
    model: DSUNetConfig
    data: RunData
    encoders: dict[str, str]
    """Content hashes of the encoders (`pretrained.encoder_hashes`), if weights came from files."""
    checkpoint_sha256: str | None
    """SHA-256 of the checkpoint file that the run started from, if any."""
    teacher_sha256: str | None
    """SHA-256 of the teacher's checkpoint file; None without a teacher."""
    versions: dict[str, str]
    """Versions of Python and of packages, by name."""
    lengthened: tuple[dict[str, int], ...] = ()
    """For each change of `--epochs`: `from` and `to`, and the position at `epoch` and `step`."""


class RunFolder:
    """Paths in a run folder; reads and writes config.json, and writes log.csv."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.csv"
        self.curve = path / "curve.png"
        self.checkpoint = path / LAST
        self.best = path / BEST
        self.state = path / "state" / "state.pt"
        self.overlays = path / "overlays"
        self.tensorboard = path / "tensorboard"

    def start(self, config: RunConfig) -> None:
        """Create the folder and write config.json.

        Raises TrainingError if the folder already has a run or cannot be created.
        """
        self.refuse_started()
        try:
            for folder in (self.path, self.state.parent, self.overlays):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{self.path} cannot be created: {reason(error)}") from error
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        """Write config.json.  Raises TrainingError if it cannot be written."""
        first = {"checksum": PLACEHOLDER, "version": CONFIG_VERSION}
        text = json.dumps(first | encode(config), indent=2, allow_nan=False) + "\n"
        try:
            write_with_checksum(self.config, lambda beside: beside.write_text(text))
        except OutputError as error:
            raise TrainingError(str(error)) from error

    def refuse_started(self) -> None:
        """Raise TrainingError if the folder already has a run."""
        if self.config.exists():
            raise TrainingError(
                f"{self.path} already has a run: resume it with --resume {self.path}, or give "
                "another folder"
            )

    def read_config(self) -> RunConfig:
        """Read config.json.  Raises TrainingError if it cannot be read, is damaged or too new."""
        try:
            checksum = verify_checksum(self.config)
            with open_regular(self.config) as file:
                document = parse_object(file.read(MAX_BYTES + 1))
        except FileNotFoundError as error:
            raise TrainingError(
                f"{self.path} has no run to resume: config.json is missing"
            ) from error
        except NotADirectoryError as error:
            raise TrainingError(
                f"{self.path} is a file: give the run folder, {self.path.parent}"
            ) from error
        except OSError as error:
            raise TrainingError(
                f"{self.config} cannot be read: {reason(error)}; give the folder of a run"
            ) from error
        except ValueError as error:
            raise TrainingError(f"{self.config} is damaged: {reason(error)}") from error
        if checksum is not Checksum.DIFFERS:
            self._check_version(document)
        is_edited = checksum is Checksum.ABSENT and document.get("checksum", "") is None
        if checksum is not Checksum.MATCHES and not is_edited:
            raise TrainingError(
                f"{self.config} is damaged: its content does not match its checksum; restore it, "
                "or set the checksum to null if you edited the file"
            )
        try:
            return decode(RunConfig, _migrated(document), exact=True)
        except (FieldError, TrainingError, ConfigError) as error:
            raise TrainingError(
                f"{self.config} does not describe a run: {reason(error)}; restore it, or resume "
                "the run with the dsunet that started it"
            ) from error

    def _check_version(self, document: dict[str, Any]) -> None:
        try:
            if "version" not in document:
                raise FieldError("it lacks version")
            version = decode(int, document["version"], exact=True, path="version")
        except FieldError as error:
            raise TrainingError(
                f"{self.config} does not describe a run: {error}; restore it"
            ) from error
        if not _OLDEST_VERSION <= version <= CONFIG_VERSION:
            update = "update dsunet, or " if version > CONFIG_VERSION else ""
            raise TrainingError(
                f"{self.config} has version {version}, but this dsunet resumes versions "
                f"{_OLDEST_VERSION} to {CONFIG_VERSION}: {update}resume the run with the dsunet "
                "that started it"
            )

    def write_log(self, rows: Sequence[LogRow]) -> None:
        """Write log.csv atomically."""
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.log, lambda file: file.write(text.getvalue().encode()))


def _migrated(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of RunConfig in a file, completed if an older version wrote it.

    A `drop_hiera` other than 0 stays, which `decode` refuses as unknown.
    """
    values = {k: v for k, v in document.items() if k not in ("checksum", "version")}
    options = values.get("options")
    if document["version"] == CONFIG_VERSION or not isinstance(options, dict):
        return values
    values.setdefault("lengthened", [])  # version 2 has it only after a change of --epochs
    values["options"] = _ADDED_OPTIONS | options
    values.setdefault("teacher_sha256", None)
    if isinstance(values.get("data"), dict):
        values["data"] = {"unlabelled": 0} | values["data"]
    if options.get("drop_hiera") == 0:
        del values["options"]["drop_hiera"]
    for place, name in ((values, "model"), (values["options"], "config")):
        if isinstance(place.get(name), dict):
            place[name] = ABSENT_IN_EARLIER_FILES | place[name]
    return values
