"""What settings of movers may be."""

from __future__ import annotations

from typing import Any

from sciml.errors import InputError, is_number, is_whole


def check_steps(name: str, **counts: Any) -> None:
    """Refuse what is no whole number from 1 on.

    Raises:
        InputError: names the mover, the setting and what was got.
    """
    _check_least(name, 1, counts)


def check_whole(name: str, **counts: Any) -> None:
    """Refuse what is no whole number from 0 on.

    Raises:
        InputError: names the mover, the setting and what was got.
    """
    _check_least(name, 0, counts)


def _check_least(name: str, least: int, counts: dict[str, Any]) -> None:
    for key, value in counts.items():
        if not is_whole(value) or value < least:
            raise InputError(f"{name}: {key} is {value!r}, expected a whole number from {least} on")


def check_positive(name: str, **values: Any) -> None:
    """Refuse what is no positive number.

    Raises:
        InputError: names the mover, the setting and what was got.
    """
    for key, value in values.items():
        if not is_number(value) or value <= 0:
            raise InputError(f"{name}: {key} is {value!r}, expected a positive number")
