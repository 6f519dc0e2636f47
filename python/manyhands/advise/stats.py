"""Medians, spread, and whether two engines differ beyond noise.

All comparisons are *paired*: round k of one engine against round k of the other, which ran within
the same few seconds. A machine that is slow for a while is slow for both, and the ratio survives;
the difference of two independent medians would not.

The rules, which `docs/design/0009-compare.md` explains:

* the typical value is the median, the spread half the distance between the quartiles;
* a difference is *beyond noise* if Wilcoxon's exact signed-rank test over the pairs says so at
  `SIGNIFICANCE` and the median ratio is off by `RELEVANT` or more;
* with fewer rounds than the test needs to be able to say so, all pairs must lie on one side and the
  median ratio must be off by `RELEVANT_FEW` or more and by more than the pairs themselves scatter; with one
  or two rounds it must be off by `RELEVANT_ALMOST_NONE`.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

SIGNIFICANCE = 0.05
RELEVANT = 1.05
RELEVANT_FEW = 1.15
RELEVANT_ALMOST_NONE = 1.5
ENOUGH_ROUNDS = 6
"""With five pairs the smallest two-sided p that the test can give is 0.0625: six are needed."""


def median(values: Sequence[float]) -> float:
    """The median; NaN for no values."""
    return float(statistics.median(values)) if values else math.nan


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by linear interpolation; NaN for no values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Sequence[float]) -> float | None:
    """Half the distance between the quartiles, as a share of the median; None for fewer than two."""
    if len(values) < 2:
        return None
    middle = median(values)
    if middle == 0:
        return None
    return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / abs(middle)


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact (ties get mean ranks, zeros are dropped)."""
    kept = [d for d in differences if d != 0.0]
    if not kept:
        return 1.0
    ranks = _mean_ranks([abs(d) for d in kept])
    # Ranks doubled, so that mean ranks (halves) stay whole numbers and sums can be counted exactly.
    doubled = [round(2 * rank) for rank in ranks]
    positive = sum(r for r, d in zip(doubled, kept, strict=True) if d > 0)
    total = sum(doubled)
    ways = [0] * (total + 1)
    ways[0] = 1
    for rank in doubled:
        for at in range(total, rank - 1, -1):
            ways[at] += ways[at - rank]
    low = min(positive, total - positive)
    everything: int = 1 << len(doubled)
    return min(1.0, 2 * sum(ways[: low + 1]) / everything)


def _mean_ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in range(start, end + 1):
            ranks[order[place]] = (start + end) / 2 + 1
        start = end + 1
    return ranks


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How much faster `other` is than `base`, pair by pair: above 1 is faster."""

    value: float
    low: float
    high: float
    pairs: int
    p: float
    outcome: str
    """"faster", "slower" or "same" (no difference beyond noise, or too small to matter)."""

    @property
    def faster(self) -> bool:
        return self.outcome == "faster"

    @property
    def slower(self) -> bool:
        return self.outcome == "slower"


def compare_pairs(base: Sequence[float], other: Sequence[float]) -> Ratio:
    """Compare two engines round by round. The sequences are in round order; the shorter one counts."""
    pairs = [(b, o) for b, o in zip(base, other, strict=False) if b > 0 and o > 0]
    if not pairs:
        return Ratio(math.nan, math.nan, math.nan, 0, 1.0, "same")
    logs = [math.log(b / o) for b, o in pairs]
    middle = median(logs)
    low, high = quantile(logs, 0.25), quantile(logs, 0.75)
    p = signed_rank_p(logs)
    outcome = "same"
    if _beyond_noise(logs, middle, p):
        outcome = "faster" if middle > 0 else "slower"
    return Ratio(math.exp(middle), math.exp(low), math.exp(high), len(pairs), p, outcome)


def _beyond_noise(logs: Sequence[float], middle: float, p: float) -> bool:
    if len(logs) >= ENOUGH_ROUNDS:
        return p <= SIGNIFICANCE and abs(middle) >= math.log(RELEVANT)
    if len(logs) < 3:  # too few to see any scatter: only what no usual noise explains
        return all(x * middle > 0 for x in logs) and abs(middle) >= math.log(RELEVANT_ALMOST_NONE)
    one_side = all(x > 0 for x in logs) or all(x < 0 for x in logs)
    scatter = (max(logs) - min(logs)) / 2
    return one_side and abs(middle) >= max(math.log(RELEVANT_FEW), scatter)
