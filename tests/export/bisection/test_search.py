from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from dsunet_export.bisection.search import minimize


class Trials:
    """True if all culprits are included; counts its calls."""

    def __init__(self, culprits: set[int]) -> None:
        self.culprits = culprits
        self.count = 0

    def __call__(self, items: Sequence[int]) -> bool:
        self.count += 1
        return self.culprits <= set(items)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_exactly_the_culprits_are_left(size: int) -> None:
    for count in range(4):
        for culprits in itertools.combinations(range(size), count):
            assert minimize(range(size), Trials(set(culprits))) == list(culprits)


def test_few_culprits_among_many_take_few_trials() -> None:
    for culprits in ({0}, {99}, {50}, {17, 83}):
        trials = Trials(culprits)
        assert minimize(range(100), trials) == sorted(culprits)
        assert trials.count < 60


def test_one_that_matters_only_beside_another() -> None:
    # Either 0 and 1 together do, or 2 alone.
    found = minimize(range(3), lambda items: 2 in items or {0, 1} <= set(items))
    assert found in ([2], [0, 1])
