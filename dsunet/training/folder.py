"""The run folder: what is where, and how a run starts in it or goes on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsunet.errors import TrainingError
from dsunet_runtime.errors import OutputError
from dsunet_runtime.writing import write_whole

CONFIG_VERSION = 1

Row = dict[str, float]
"""A line of log.csv, by column."""


class RunFolder:
    """Paths of a run, and its two text files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.csv"
        self.curve = path / "curve.png"
        self.checkpoint = path / "checkpoint.safetensors"
        self.best = path / "best.safetensors"
        self.state = path / "state" / "state.pt"
        self.overlays = path / "overlays"

    def start(self, config: dict[str, Any]) -> None:
        """Make the folder, and write what the run is asked to do.

        Raises TrainingError if there is a run already, or if it cannot be made.
        """
        self.refuse_started()
        try:
            for folder in (self.path, self.state.parent, self.overlays):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{self.path} cannot be made: {error.strerror}") from error
        document = {"version": CONFIG_VERSION, **config}
        text = json.dumps(document, indent=2) + "\n"
        try:
            write_whole(self.config, lambda file: file.write(text.encode()))
        except OutputError as error:
            raise TrainingError(str(error)) from error

    def refuse_started(self) -> None:
        """Raise TrainingError if there is a run already."""
        if self.config.exists():
            raise TrainingError(
                f"{self.path} already has a run: go on with it by --resume {self.path}, or name "
                "another folder"
            )

    def read_config(self) -> dict[str, Any]:
        """What `start` wrote.  Raises TrainingError if it is not there, or damaged."""
        try:
            document = json.loads(self.config.read_text())
            version = document["version"]
        except FileNotFoundError as error:
            raise TrainingError(f"{self.path} has no run to go on with: no config.json") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{self.config} is damaged: {error!r}") from error
        if version != CONFIG_VERSION:
            raise TrainingError(
                f"{self.config} has version {version}, and this dsunet goes on with version "
                f"{CONFIG_VERSION}: finish the run with the dsunet that began it"
            )
        return dict(document)

    def write_log(self, rows: Sequence[Row]) -> None:
        """Write log.csv anew, whole."""
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.log, lambda file: file.write(text.getvalue().encode()))

    def remove_leftovers(self) -> None:
        """Remove what a killed process was writing."""
        for folder in (self.path, self.state.parent, self.overlays):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
