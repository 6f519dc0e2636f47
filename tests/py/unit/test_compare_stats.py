"""The statistics of compare, on samples that are made up."""

import itertools
import math
import random

import pytest
from manyhands.advise import stats


def brute_force_p(differences):
    ranks = stats._mean_ranks([abs(d) for d in differences])
    observed = sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)
    total = sum(ranks)
    low = min(observed, total - observed)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return min(1.0, 2 * sum(1 for s in sums if s <= low + 1e-9) / len(sums))


@pytest.mark.parametrize("seed", range(20))
def test_signed_rank_is_exact(seed):
    random.seed(seed)
    differences = [random.choice((-3, -2, -1, 1, 2, 3, 4)) * 0.5 for _ in range(random.randint(1, 10))]
    assert stats.signed_rank_p(differences) == pytest.approx(brute_force_p(differences))


def test_five_pairs_can_never_be_significant_six_can():
    assert stats.signed_rank_p([1, 2, 3, 4, 5]) > stats.SIGNIFICANCE
    assert stats.signed_rank_p([1, 2, 3, 4, 5, 6]) <= stats.SIGNIFICANCE


def test_no_difference_has_p_one():
    assert stats.signed_rank_p([0.0, 0.0]) == 1.0
    assert stats.signed_rank_p([]) == 1.0


def test_a_drifting_machine_does_not_hide_a_difference():
    """The machine slows down threefold during the comparison; the pairs do not care."""
    drift = [1 + 2 * k / 9 for k in range(10)]
    ratio = stats.compare_pairs([d * 1.0 for d in drift], [d * 0.8 for d in drift])
    assert ratio.faster
    assert ratio.value == pytest.approx(1.25)


def test_noise_is_not_a_difference():
    random.seed(5)
    found = 0
    for _ in range(200):
        base = [random.gauss(1, 0.1) for _ in range(8)]
        other = [random.gauss(1, 0.1) for _ in range(8)]
        found += stats.compare_pairs(base, other).outcome != "same"
    assert found <= 20  # 5 % of 200 is 10


def test_a_real_but_tiny_difference_does_not_matter():
    ratio = stats.compare_pairs([1.0] * 12, [0.98] * 12)
    assert ratio.p < 0.01
    assert ratio.outcome == "same"


def test_slower_is_told_from_faster():
    assert stats.compare_pairs([1.0] * 8, [2.0] * 8).slower
    assert stats.compare_pairs([2.0] * 8, [1.0] * 8).faster


def test_few_rounds_need_a_large_difference_on_one_side():
    assert stats.compare_pairs([1.0, 1.0, 1.0], [0.5, 0.55, 0.5]).faster
    assert stats.compare_pairs([1.0, 1.0, 1.0], [0.95, 0.93, 0.94]).outcome == "same"
    assert stats.compare_pairs([1.0, 1.0, 1.0], [0.5, 1.1, 0.5]).outcome == "same"
    assert stats.compare_pairs([1.0], [0.8]).outcome == "same"
    assert stats.compare_pairs([1.0], [0.4]).faster


def test_no_pairs():
    ratio = stats.compare_pairs([], [1.0])
    assert math.isnan(ratio.value) and ratio.outcome == "same"


def test_one_outlier_does_not_move_median_and_spread():
    values = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 50.0]
    assert stats.median(values) == 1.0
    assert stats.spread(values) < 0.03
    assert stats.spread([1.0]) is None


def test_quantiles():
    assert stats.quantile([1, 2, 3, 4, 5], 0.5) == 3
    assert stats.quantile([1, 2], 0.25) == 1.25
    assert stats.quantile([7], 0.99) == 7
