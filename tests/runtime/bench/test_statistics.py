from __future__ import annotations

import pytest
from scipy.stats import binomtest

from dsunet_runtime.bench.statistics import Latency, Ratio


def test_percentiles() -> None:
    latency = Latency.of([float(n) for n in range(101)])
    assert latency == Latency(0, 50, 50, 90, 95, 99, 101)


def test_one_call() -> None:
    assert Latency.of([2.0]) == Latency(2, 2, 2, 2, 2, 2, 1)


def test_rounds_are_compared_one_by_one() -> None:
    # The machine became ten times slower in the middle; the ratio did not change.
    ratio = Ratio.of([2, 2, 2, 20, 20, 20], [1, 1, 1, 10, 10, 10])
    assert (ratio.median, ratio.minimum, ratio.maximum, ratio.rounds) == (2, 2, 2, 6)
    assert not ratio.within_noise


@pytest.mark.parametrize("rounds", [1, 5, 6, 9, 10, 20])
def test_noise_is_the_result_of_a_sign_test(rounds: int) -> None:
    for slower in range(rounds + 1):
        times = [2.0] * slower + [0.5] * (rounds - slower)
        expected = binomtest(slower, rounds).pvalue > 0.05
        assert Ratio.of(times, [1.0] * rounds).within_noise == expected


def test_equal_rounds_are_noise() -> None:
    assert Ratio.of([1.0] * 10, [1.0] * 10).within_noise
