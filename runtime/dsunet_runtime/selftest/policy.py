"""When `load` runs the self-test, and the record of the machines on which it passed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from dsunet_runtime.errors import ArtifactError, OutputError, SelfTestError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import MAX_BYTES, parse_object
from dsunet_runtime.manifest import Manifest
from dsunet_runtime.output_files import write_whole
from dsunet_runtime.plain_values import decode
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter
from dsunet_runtime.selftest.comparison import check, run_selftest
from dsunet_runtime.selftest.schedule import SelfTestPolicy

_MOST_MACHINES = 20
"""Machines in a record; the oldest are dropped."""

Machine = tuple[str, ...]
"""Device, driver and libraries (`Backend.machine`)."""


def apply_policy(
    segmenter: Segmenter,
    path: Path,
    provider: Provider | None,
    machine: Machine,
    policy: SelfTestPolicy,
) -> None:
    """Run the self-test of an artifact if the policy asks for it, and record where it passed.

    `provider` is None for an engine.  With AUTO, artifacts without a self-test for their sizes are
    left alone.  Raises SelfTestError if the test fails, and ArtifactError like `run_selftest` with
    ALWAYS.
    """
    if policy is SelfTestPolicy.NEVER:
        return
    record = path.with_name(f"{path.name}.selftest.json")
    is_auto = policy is SelfTestPolicy.AUTO
    if is_auto and (not machine or machine in _passed(record, segmenter.manifest)):
        return
    try:
        check(run_selftest(segmenter), segmenter.manifest, provider)
    except ArtifactError as error:
        if is_auto:
            return
        raise ArtifactError(f"{path}: {error}") from error
    except SelfTestError as error:
        on = f" on {', '.join(machine)}" if machine else ""
        raise SelfTestError(
            f"{path}{on}: {error}; --selftest never, in Python selftest='never', runs it all the "
            f"same"
        ) from error
    if machine:
        _add(record, segmenter.manifest, machine)


def _passed(record: Path, manifest: Manifest) -> tuple[Machine, ...]:
    """Machines on which this artifact passed; none if the record is of another or is damaged."""
    with contextlib.suppress(OSError, ValueError):
        with open_regular(record) as file:
            document = parse_object(file.read(MAX_BYTES + 1))
        if document.get("manifest_sha256") == _identity(manifest):
            return decode(tuple[Machine, ...], document.get("machines"), exact=True)
    return ()


def _add(record: Path, manifest: Manifest, machine: Machine) -> None:
    """Add a machine.  If the record cannot be written, the test runs again the next time."""
    others = [other for other in _passed(record, manifest) if other != machine]
    machines = [*others, machine][-_MOST_MACHINES:]
    document = {"manifest_sha256": _identity(manifest), "machines": machines}
    with contextlib.suppress(OutputError):
        write_whole(record, lambda file: file.write(json.dumps(document, indent=1).encode()))


def _identity(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()
