"""Arrays as they come in from outside: what NumPy would drop in silence (masks, units of time) is kept or refused."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from sciml.errors import InputError

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0}


def plain(name: str, values: Any) -> np.ndarray:
    """`values` as an ordinary array; a masked array loses its mask only if it masks nothing.

    Raises:
        InputError: a value is masked; the message names the argument `name`.
    """
    return np.asarray(unmasked(name, values))


def unmasked(name: str, values: Any) -> Any:
    """As `plain`, but arrays of other libraries, and lists, are given back as they came."""
    if isinstance(values, np.ma.MaskedArray):
        hidden = int(np.ma.count_masked(values))
        if hidden:
            raise InputError(f"{name}: {hidden} of {values.size} values are masked, expected values everywhere")
        return values.data
    if isinstance(values, list | tuple):
        for part in values:
            if isinstance(part, np.ma.MaskedArray | list | tuple):
                unmasked(name, part)
    return values


def real(name: str, values: Any) -> np.ndarray:
    """`values` as float64.

    Raises:
        InputError: masked values.
        TypeError, ValueError: what is no real number, complex numbers, dates and durations among it.
    """
    array = plain(name, values)
    if array.dtype.kind not in "biufO":
        raise TypeError(f"expected real numbers, got {array.dtype}")
    return array.astype(np.float64)


def clock(name: str, values: Any, unit: str = "s") -> np.ndarray:
    """Times as float64 in `unit`; durations (timedelta64, datetime.timedelta) are converted.

    Raises:
        InputError: dates, masked times, something else than numbers, or durations for a `unit` that is not one of time.
    """
    array = plain(name, values)
    if array.dtype.kind == "O" and array.size and all(isinstance(v, datetime.timedelta) for v in array.flat):
        array = array.astype("m8[us]")
    if array.dtype.kind == "m":
        if unit not in SECONDS:
            raise InputError(f"{name}: got durations ({array.dtype}), expected numbers in {unit!r}, the problem's unit")
        try:
            if np.datetime_data(array.dtype)[0] == "generic":
                raise TypeError
            return array / np.timedelta64(1, "s") / SECONDS[unit]
        except TypeError:
            raise InputError(f"{name}: got {array.dtype}, expected durations in seconds or parts of them") from None
    if array.dtype.kind == "M" or (array.dtype.kind == "O" and any(isinstance(v, datetime.date) for v in array.flat)):
        raise InputError(f"{name}: got dates, expected numbers in {unit!r}; subtract the date at which time is 0")
    try:
        return real(name, array)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers, got {values!r:.80}".replace("\n", " ")) from None


def cast(name: str, values: Any, dtype: Any) -> Any:
    """`values` in another floating-point type; lazy arrays stay lazy (and are not checked).

    Raises:
        InputError: a finite value is beyond the range of `dtype`.
    """
    dtype = np.dtype(dtype)
    if values.dtype == dtype:
        return values
    if not isinstance(values, np.ndarray):
        return values.astype(dtype)
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(found).all():
        lost = np.isfinite(values) & ~np.isfinite(found)
        if lost.any():
            most = f"{np.finfo(dtype).max:.3g}"
            raise InputError(f"{name}: {values[lost][0]:.3g} is beyond the range of {dtype} (up to {most})")
    return found


def storable(dtype: Any) -> np.dtype:
    """The floating-point type that files hold values of `dtype` in: float16 widens to float32, long double narrows to
    float64; other types stay as they are."""
    dtype = np.dtype(dtype)
    if dtype.kind != "f" or dtype.itemsize in (4, 8):
        return dtype
    return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
