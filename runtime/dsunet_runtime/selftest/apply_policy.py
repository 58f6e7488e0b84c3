"""The self-test when `load` opens an artifact, according to the policy."""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.errors import ArtifactError, SelfTestError
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter
from dsunet_runtime.selftest.comparison import check_passed, run_selftest
from dsunet_runtime.selftest.policy import SelfTestPolicy
from dsunet_runtime.selftest.record import MachineKey, has_passed, record_outcome


def apply_policy(
    segmenter: Segmenter,
    path: Path,
    provider: Provider | None,
    machine: MachineKey,
    policy: SelfTestPolicy,
) -> None:
    """Run the self-test of an artifact if the policy requires it, and record the outcome.

    Args:
        segmenter: The loaded artifact.
        path: Its file.
        provider: The provider that computes it; None for an engine.
        machine: Device, driver and libraries; empty for ONNX Runtime's CPU provider.
        policy: With AUTO, an artifact without a self-test for its sizes is not tested.

    Raises:
        SelfTestError: An output is outside the tolerance.
        ArtifactError: With ALWAYS, as in `run_selftest`.
    """
    if policy is SelfTestPolicy.NEVER:
        return
    is_auto = policy is SelfTestPolicy.AUTO
    if is_auto and (not machine or has_passed(path, segmenter.manifest, machine)):
        return
    try:
        comparisons = run_selftest(segmenter)
        record_outcome(path, segmenter.manifest, machine, comparisons)
        check_passed(comparisons, segmenter.manifest, provider)
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
