"""The limits of a verification apply to 99.9 % of the values and to the mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dsunet_export.errors import VerificationError
from dsunet_export.probes import Probe
from dsunet_export.verification.compare_artifact import (
    ReferenceCase,
    check_tolerance,
    compare_logits,
    compare_mask_with_reference,
    limits_in_words,
)
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.masks.mask_from_logits import mask_from_logits

SIDE = 100
PROBE = Probe("a.png", np.zeros((SIDE, SIDE, 3), np.uint8))


@pytest.fixture
def case() -> ReferenceCase:
    logits = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    return ReferenceCase(PROBE, logits)


def changed(case: ReferenceCase, count: int, by: float) -> NDArray[np.float32]:
    """The logits with some of them changed, in standard deviations."""
    logits = case.logits.copy()
    logits.flat[:count] += by * logits.std()
    return logits


@pytest.mark.parametrize(
    ("count", "by", "passes"),
    [
        (0, 0.0, True),
        (9, 0.5, True),  # of 10,000
        (11, 0.02, False),
        (SIDE * SIDE, 0.0009, True),
        (SIDE * SIDE, 0.0011, False),  # the mean
        (1, 100.0, False),  # the mean
        (1, float("inf"), False),
        (1, float("nan"), False),
    ],
)
def test_logits(case: ReferenceCase, count: int, by: float, passes: bool) -> None:
    result = compare_logits(case, changed(case, count, by))
    if passes:
        check_tolerance(result, case)
        assert result.max_abs_error == pytest.approx(by, rel=1e-3)
        return
    with pytest.raises(
        VerificationError, match=r"tolerance 0\.01 for 99\.9 %, 0\.001 for the mean"
    ):
        check_tolerance(result, case)


def test_masks(case: ReferenceCase) -> None:
    form = MaskForm.PROBABILITY
    mask = mask_from_logits(case.logits, (SIDE, SIDE), form)
    for count, passes in ((9, True), (11, False)):
        other = mask.copy()
        other.flat[:count] ^= 32
        result = compare_mask_with_reference(case, other, form)
        assert result.max_abs_error == 32
        if passes:
            check_tolerance(result, case)
        else:
            with pytest.raises(VerificationError, match="differs by at most 32"):
                check_tolerance(result, case)


def test_artifacts_of_earlier_versions_limit_the_largest(case: ReferenceCase) -> None:
    result = compare_logits(case, changed(case, 9, 0.5))
    older = replace(result, p999_abs_error=None)
    assert limits_in_words(older) == "0.01, 0.001 for the mean"
    with pytest.raises(VerificationError):
        check_tolerance(older, case)
