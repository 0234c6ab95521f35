"""Dates and times of day in text, as seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:[.,]\d*)?))?\Z")
MISSING = ("", "nan", "nat", "na", "null", "none")


def seconds(cells: Sequence[str]) -> np.ndarray | None:
    """Seconds from 1970 on of dates in the form of ISO 8601, or from midnight on of times of day; NaN where missing.

    Args:
        cells: "2024-01-31 12:00:00", "2024-01-31T12:00Z", or "12:00:30".

    Returns:
        None where any of them is something else.
    """
    known: dict[str, float] = {}
    for cell in dict.fromkeys(cells):
        made = np.nan if cell.strip().lower() in MISSING else _one(cell.strip())
        if made is None:
            return None
        known[cell] = made
    found = np.array([known[c] for c in cells])
    return found if np.isfinite(found).any() else None


def _one(cell: str) -> float | None:
    if clock := _CLOCK.match(cell):
        hours, minutes, rest = clock.groups(default="0")
        return 3600.0 * int(hours) + 60.0 * int(minutes) + float(rest.replace(",", "."))
    if not re.match(r"\d{4}-?\d\d-?\d\d", cell):
        return None
    try:
        date = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
