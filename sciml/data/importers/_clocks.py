"""Times as CF writes them: numbers of a unit, "hours since 2000-01-01 00:00"."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from sciml.data.importers._labelled import Variable
from sciml.errors import FileFormatError

SECONDS = {
    "ns": 1e-9, "nanosecond": 1e-9, "us": 1e-6, "µs": 1e-6, "microsecond": 1e-6, "ms": 1e-3, "msec": 1e-3,
    "millisecond": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0,
    "hour": 3600.0, "d": 86400.0, "day": 86400.0, "week": 604800.0, "month": 2629746.0, "yr": 31556952.0,
    "year": 31556952.0, "common_year": 31536000.0,
}  # fmt: skip
_SINCE = re.compile(r"\A\s*(\w+)\s+since\s+(.+?)\s*\Z", re.IGNORECASE)

_DATE = re.compile(
    r"(\d{1,4})-(\d{1,2})-(\d{1,2})(?:T(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2}(?:\.\d*)?))?)?\s*\Z"
)  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """Times of a file.

    Args:
        seconds: (T,) or (case, T); from the epoch on, where there is one.
        unit: as printed.
        epoch: in seconds from 1970 on; None where times are numbers alone or the epoch is no date.
        said: what was done to them, "" for nothing.
    """

    seconds: np.ndarray
    unit: str
    epoch: float | None = None
    said: str = ""


def is_clock(unit: str) -> bool:
    """Whether a unit says when, "... since ..."."""
    return _SINCE.match(unit) is not None


def factor(unit: str) -> float | None:
    """Seconds of a unit of time; None for others."""
    word = unit.strip().lower()
    return SECONDS.get(word, SECONDS.get(word.removesuffix("s"))) if word else None


def clock(variable: Variable, values: np.ndarray) -> Clock:
    """The times that a variable holds.

    Raises:
        FileFormatError: they are no numbers, or not finite.
    """
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        at = int(np.argmin(np.isfinite(found).ravel()))
        raise FileFormatError(f"{variable.where} is not finite at index {at}, expected times")
    unit, match = variable.unit, _SINCE.match(variable.unit)
    by = factor(match[1] if match else unit)
    if match is None:
        if by is None or by == 1.0:
            return Clock(found, unit)
        return Clock(found * by, unit, said=f"times of {variable.name!r} in {unit!r} are turned into seconds")
    if by is None:
        raise FileFormatError(f"{variable.where} has the unit {unit!r}, expected seconds, minutes, hours or days since")
    about = " (a month or year being of its mean length)" if by in (SECONDS["month"], SECONDS["year"]) else ""
    calendar = str(variable.attrs.get("calendar", "standard"))
    about += f" (calendar {calendar})" if calendar not in ("standard", "gregorian", "proleptic_gregorian") else ""
    said = f"times of {variable.name!r} in {unit!r} are turned into seconds from the first of a case on{about}"
    return Clock(found * by, unit, _date(match[2]), said)


def _date(text: str) -> float | None:
    """Seconds from 1970 on."""
    cleaned = re.sub(r"\s*(UTC|GMT|Z|[-+]00:?00|[-+]0)\Z", "", text.strip(), flags=re.IGNORECASE).replace(" ", "T", 1)
    match = _DATE.match(cleaned)
    if match is None:
        return None
    year, month, day, hour, minute, second = match.groups(default="0")
    try:
        days = np.datetime64(f"{int(year):04d}-{int(month):02d}-{int(day):02d}", "D").astype(np.int64)
    except ValueError:
        return None
    return float(days) * 86400.0 + int(hour) * 3600.0 + int(minute) * 60.0 + float(second)
