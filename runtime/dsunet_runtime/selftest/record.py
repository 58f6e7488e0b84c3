"""The record beside an artifact of the machines on which its self-test has passed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import exclusive_lock, open_regular, write_whole
from dsunet_runtime.json_text import MAX_BYTES, parse_object
from dsunet_runtime.plain_values import decode
from dsunet_runtime.selftest.comparison import Comparison

_MOST_MACHINES = 20
"""Machines in a record; the oldest are dropped."""

MachineKey = tuple[str, ...]
"""Device, driver and libraries (`Backend.machine`)."""


def record_outcome(
    path: Path, manifest: Manifest, machine: MachineKey, found: Sequence[Comparison]
) -> None:
    """Add a machine to the record if the test passed there, and remove it if not.

    If the record cannot be written, the test runs again the next time.
    """
    record = record_file(path)
    with exclusive_lock(path):  # processes on several GPUs add their machines at the same time
        before = _machines(record, manifest)
        others = [other for other in before if other != machine]
        passed = [machine] if machine and all(one.passed for one in found) else []
        machines = [*others, *passed][-_MOST_MACHINES:]
        if machines != [*before]:
            document = {"manifest_sha256": manifest.sha256, "machines": machines}
            text = json.dumps(document, indent=1).encode()
            with contextlib.suppress(OutputError):
                write_whole(record, lambda file: file.write(text))


def has_passed(path: Path, manifest: Manifest, machine: MachineKey) -> bool:
    """Whether the record of an artifact contains a machine."""
    return machine in _machines(record_file(path), manifest)


def record_file(path: Path) -> Path:
    """Return the path of an artifact's record."""
    return path.with_name(f"{path.name}.selftest.json")


def _machines(record: Path, manifest: Manifest) -> tuple[MachineKey, ...]:
    """The recorded machines; none if the record is damaged or belongs to another artifact."""
    with contextlib.suppress(OSError, ValueError):
        with open_regular(record) as file:
            document = parse_object(file.read(MAX_BYTES + 1))
        if document.get("manifest_sha256") == manifest.sha256:
            return decode(tuple[MachineKey, ...], document.get("machines"), exact=True)
    return ()
