"""Settings that several solvers have: what they may be, and what is said of others."""

from __future__ import annotations

from typing import Any

from sciml.errors import InputError, is_number, is_whole


def check_tolerance(name: str, tolerance: Any) -> None:
    """Refuse what is no number between 0 and 1.

    Raises:
        InputError: names the solver and what was got.
    """
    if not is_number(tolerance) or not 0 < tolerance < 1:
        raise InputError(f"{name}: tolerance is {tolerance!r}, expected a number in (0, 1)")


def check_counts(name: str, **counts: Any) -> None:
    """Refuse what is no whole number from 1 on.

    Raises:
        InputError: names the solver, the setting and what was got.
    """
    for key, value in counts.items():
        if not is_whole(value) or value < 1:
            raise InputError(f"{name}: {key} is {value!r}, expected a whole number from 1 on")


def told(**settings: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {key: value for key, value in settings.items() if value is not None}


def check_waits(name: str, waits: Any) -> None:
    """Refuse what is no tuple of whole numbers from 0 on.

    Raises:
        InputError: names the solver and what was got.
    """
    if not isinstance(waits, tuple) or any(not is_whole(n) or n < 0 for n in waits):
        raise InputError(f"{name}: waits is {waits!r}, expected a tuple of whole numbers from 0 on")
