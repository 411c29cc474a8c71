"""How numbers, units and names of metrics are written: once, so that page, tables and verdict agree."""

from __future__ import annotations

import math

from unshift.metrics.policy import METRICS

LOWER_IS_BETTER = frozenset(name for name, kind in METRICS.items() if kind.sign < 0)
_TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "precision": "Precision",
    "recall": "Recall",
    "hd": "Hausdorff distance",
    "hd95": "HD95",
    "assd": "ASSD",
    "asd": "ASD (one-directional)",
    "nsd": "NSD",
}
UNDEFINED = "–"
MINUS = "\N{MINUS SIGN}"


def title(metric: str) -> str:
    """How a metric is written: ``Dice``, ``HD95``."""
    return _TITLES.get(metric, metric)


def unit_name(unit: str) -> str:
    """``points`` for shares, else the unit itself."""
    return "points" if unit == "1" else unit


def scaled(value: float, unit: str) -> float:
    """Shares 0 … 1 as points 0 … 100; distances as they are."""
    return float(value) * 100 if unit == "1" else float(value)


def plain(value: float, unit: str) -> str:
    """One decimal, a true minus sign, never ``-0.0``; an en dash for NaN."""
    if math.isnan(value):
        return UNDEFINED
    text = f"{scaled(value, unit):.1f}"
    text = "0.0" if text == "-0.0" else text
    return text.replace("-", MINUS)


def signed(value: float, unit: str) -> str:
    """As :func:`plain`, with a plus sign where positive."""
    text = plain(value, unit)
    return text if text in ("0.0", UNDEFINED) or text.startswith(MINUS) else f"+{text}"


def interval(low: float, high: float, unit: str) -> str:
    """``27.1 to 35.8``; an en dash when either end is undefined."""
    if math.isnan(low) or math.isnan(high):
        return UNDEFINED
    return f"{plain(low, unit)} to {plain(high, unit)}"


def percent(confidence: float) -> str:
    """``95 %``."""
    return f"{100 * confidence:.4g} %"


def p_value(p: float) -> str:
    """``< 0.001`` or three decimals."""
    if math.isnan(p):
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def listing(names: list[str] | tuple[str, ...]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
