"""When `load` runs the self-test, and the record of the machines on which it passed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.errors import ArtifactError, OutputError, SelfTestError
from dsunet_runtime.files import alone_with, open_regular
from dsunet_runtime.json_text import MAX_BYTES, parse_object
from dsunet_runtime.plain_values import decode
from dsunet_runtime.prediction.output_files import write_whole
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter
from dsunet_runtime.selftest.comparison import Comparison, check, run_selftest
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
    """Run the self-test of an artifact if the policy asks for it, and record the outcome.

    `provider` is None for an engine.  With AUTO, artifacts without a self-test for their sizes are
    left alone.  Raises SelfTestError if the test fails, and ArtifactError like `run_selftest` with
    ALWAYS.
    """
    if policy is SelfTestPolicy.NEVER:
        return
    is_auto = policy is SelfTestPolicy.AUTO
    if is_auto and (not machine or machine in _passed(_record(path), segmenter.manifest)):
        return
    try:
        found = run_selftest(segmenter)
        record_outcome(path, segmenter.manifest, machine, found)
        check(found, segmenter.manifest, provider)
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


def record_outcome(
    path: Path, manifest: Manifest, machine: Machine, found: Sequence[Comparison]
) -> None:
    """Add a machine to the record if the test passed there, and remove it if not.

    If the record cannot be written, the test runs again the next time.
    """
    record = _record(path)
    with alone_with(path):  # processes on several GPUs add their machines at the same time
        before = _passed(record, manifest)
        others = [other for other in before if other != machine]
        passed = [machine] if machine and all(one.passed for one in found) else []
        machines = [*others, *passed][-_MOST_MACHINES:]
        if machines != [*before]:
            document = {"manifest_sha256": manifest.sha256, "machines": machines}
            text = json.dumps(document, indent=1).encode()
            with contextlib.suppress(OutputError):
                write_whole(record, lambda file: file.write(text))


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.selftest.json")


def _passed(record: Path, manifest: Manifest) -> tuple[Machine, ...]:
    """Machines on which this artifact passed; none if the record is of another or is damaged."""
    with contextlib.suppress(OSError, ValueError):
        with open_regular(record) as file:
            document = parse_object(file.read(MAX_BYTES + 1))
        if document.get("manifest_sha256") == manifest.sha256:
            return decode(tuple[Machine, ...], document.get("machines"), exact=True)
    return ()
