"""Figures in words: three significant digits at most, the unit that fits."""

from __future__ import annotations

import math


def _three(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def seconds_text(seconds: float | None) -> str:
    """A time: 1.84 s, 70.3 ms, 12.0 µs, 85.0 ns."""
    if seconds is None or math.isnan(seconds):
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size * 0.9995:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds / 1e-9)} ns" if seconds > 0 else "0 s"


def rough_seconds_text(seconds: float) -> str:
    """A time that is an estimate: two digits, 53 ms, 1.8 s."""
    if seconds <= 0:
        return "0 s"
    digits = 1 - math.floor(math.log10(seconds))
    value, _, unit = seconds_text(round(seconds, digits)).partition(" ")
    return f"{float(value):g} {unit}"


def bytes_text(size: float | None) -> str:
    """A size: 31 MB, 1.2 GB. Decimal units, as disks and networks have them."""
    if size is None:
        return "-"
    for unit, amount in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= amount * 0.9995:
            value = size / amount
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{size:.0f} B"


def percent_text(share: float | None) -> str:
    """A spread: ±3 %."""
    if share is None or math.isnan(share):
        return ""
    return f"±{share * 100:.0f} %"


def count_text(count: float) -> str:
    """A number of things, rounded to two digits once it is large."""
    if count < 100:
        return f"{max(1, math.ceil(count))}"
    digits = math.floor(math.log10(count)) - 1
    return f"{round(count / 10**digits) * 10**digits:,}"


def times_text(ratio: float | None) -> str:
    """A speed-up: 1.9x, 12x, 0.03x."""
    if ratio is None or math.isnan(ratio):
        return "-"
    if ratio < 0.095:
        return f"{ratio:.2f}x" if ratio >= 0.005 else "<0.01x"
    return f"{ratio:.1f}x" if ratio < 99.5 else f"{ratio:.0f}x"
