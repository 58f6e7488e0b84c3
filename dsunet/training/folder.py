"""The run folder: its files, config.json and log.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsunet.checksum import PLACEHOLDER, Checksum, verify_checksum, write_with_checksum
from dsunet.errors import TrainingError
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import MAX_BYTES, parse_object
from dsunet_runtime.message_text import printable, reason
from dsunet_runtime.output_files import write_whole

CONFIG_VERSION = 2

Row = dict[str, float]
"""A line of log.csv, by column."""


class RunFolder:
    """Paths in a run folder; reads and writes config.json, and writes log.csv."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.csv"
        self.curve = path / "curve.png"
        self.checkpoint = path / "checkpoint.safetensors"
        self.best = path / "best.safetensors"
        self.state = path / "state" / "state.pt"
        self.overlays = path / "overlays"
        self.tensorboard = path / "tensorboard"

    def start(self, config: dict[str, Any]) -> None:
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

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json.  Raises TrainingError if it cannot be written."""
        first = {"checksum": PLACEHOLDER, "version": CONFIG_VERSION}
        others = {name: value for name, value in config.items() if name not in first}
        text = json.dumps(first | others, indent=2, allow_nan=False) + "\n"
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

    def read_config(self) -> dict[str, Any]:
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
        version = document.get("version")
        if checksum is not Checksum.DIFFERS and version != CONFIG_VERSION:
            raise TrainingError(
                f"{self.config} has version {printable(version, 20)}, but this dsunet resumes "
                f"version {CONFIG_VERSION}: resume the run with the dsunet that started it"
            )
        is_edited = checksum is Checksum.ABSENT and document.get("checksum", "") is None
        if checksum is not Checksum.MATCHES and not is_edited:
            raise TrainingError(
                f"{self.config} is damaged: its content does not match its checksum; restore it, "
                "or set the checksum to null if you edited the file"
            )
        for name, kind in {"run": str, "options": dict, "data": dict, "versions": dict}.items():
            if not isinstance(document.get(name), kind):
                raise TrainingError(f"{self.config} is damaged: it lacks {name}")
        return document

    def write_log(self, rows: Sequence[Row]) -> None:
        """Write log.csv atomically."""
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.log, lambda file: file.write(text.getvalue().encode()))
