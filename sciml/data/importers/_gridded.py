"""Axes of grids and times as files give them, and what a plan may say instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sciml.data.importers._mapping import Along, Plan
from sciml.errors import FileFormatError, InputError
from sciml.support import Grid

ROUNDING = 4e-7  # of the largest position: files mostly hold these as float32


def even(values: np.ndarray) -> np.ndarray:
    """Positions that are equally spaced within the rounding of single precision, exactly so."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 3:
        return values
    equal = np.linspace(values[0], values[-1], len(values))
    step = float(np.ptp(values)) / (len(values) - 1)
    slack = min(ROUNDING * float(np.abs(values).max()), 2e-3 * step)  # far from zero, rounding must not hide stretching
    return equal if np.abs(values - equal).max() <= slack else values


def axis(values: Any, count: int, where: str) -> tuple[np.ndarray, bool]:
    """Positions along an axis in increasing order, and whether they had to be turned round.

    Args:
        count: how many values fields have along it.
        where: file and variable, for messages.

    Raises:
        FileFormatError: they are not such positions.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (count,):
        raise FileFormatError(f"{where} has shape {found.shape}, but fields have {count} values along it")
    if not np.isfinite(found).all():
        raise FileFormatError(f"{where} is not finite at index {int(np.argmin(np.isfinite(found)))}")
    steps = np.diff(found)
    turned = bool(count > 1 and (steps < 0).all())
    if not turned and not (steps > 0).all():
        at = int(np.argmax(steps <= 0)) + 1
        raise FileFormatError(f"{where} does not increase at index {at} ({found[at - 1]:g}, then {found[at]:g})")
    return even(found[::-1] if turned else found), turned


def told_axis(plan: Plan, name: str, count: int) -> np.ndarray | None:
    """Centres along an axis that a plan gives by the ends of the domain, or by first and step; None where it does not.

    Raises:
        InputError: one end alone, or ends in the wrong order.
    """
    along = plan.coordinates.get(name, Along())
    if along.low is not None or along.high is not None:
        if along.low is None or along.high is None or not along.high > along.low:
            raise InputError(f"coordinates.{name}: expected low and high, low < high, got {along.low} and {along.high}")
        step = (along.high - along.low) / count
        return along.low + step * (np.arange(count) + 0.5)
    if along.step is not None:
        if not along.step > 0:
            raise InputError(f"coordinates.{name}: expected a step > 0, got {along.step:g}")
        return (along.first or 0.0) + along.step * np.arange(count)
    return None


def told_times(plan: Plan, count: int) -> np.ndarray | None:
    """Times that a plan gives by first and step; None where it does not.

    Raises:
        InputError: a first time without a step, or a step that is not above zero.
    """
    if plan.time.step is None:
        if plan.time.first is not None:
            raise InputError("time: first is given, expected step as well")
        return None
    if not plan.time.step > 0:
        raise InputError(f"time: expected a step > 0, got {plan.time.step:g}")
    return (plan.time.first or 0.0) + plan.time.step * np.arange(count)


def times_of(values: Any, count: int, where: str, notes: list[str]) -> np.ndarray:
    """The times of frames; where there is one more, they are the ends of steps, and the last is the end of all.

    Raises:
        FileFormatError: there are as many as do not fit.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) not in (count, count + 1):
        raise FileFormatError(
            f"{where} has shape {found.shape}, but fields have {count} frames; give first and step of the times in a "
            "plan ([time] first = 0.0, step = ...)"
        )
    if len(found) == count + 1:
        note(notes, "there is one time more than frames: frames have the first ones, the last is left out")
    return found[:count]


def grid(centres: Sequence[np.ndarray], periodic: Sequence[bool]) -> Grid:
    """A grid by its centres along x, y, z, whose domain ends half a cell beyond them."""
    found = Grid.from_centres(tuple(np.asarray(c, dtype=np.float64) for c in centres))
    return replace(found, periodic=tuple(bool(p) for p in periodic))


def flags(plan: Plan, axes: Sequence[str], otherwise: Sequence[bool]) -> tuple[bool, ...]:
    """Which axes are periodic: as told, else as is known.

    Raises:
        InputError: an axis that is none.
    """
    for name in plan.periodic:
        if name not in axes:
            raise InputError(f"periodic: expected axes of {', '.join(axes)}, got {name!r}")
    return tuple(a in plan.periodic for a in axes) if plan.periodic else tuple(otherwise)


def told_parameters(plan: Plan, *labels: str) -> dict[str, float]:
    """Parameters that a plan gives by value, or by values of files or cases.

    Args:
        labels: of a case: its own, its file's, the file's without its ending.

    Raises:
        InputError: a parameter without a value for this case.
    """
    found = {}
    for name, taken in plan.parameters.items():
        if taken.values:
            key = next((k for k in labels if k in taken.values), None)
            if key is None and taken.value is None:
                known = ", ".join(list(taken.values)[:5])
                raise InputError(f"parameters.{name}: no value for {labels[0]!r}; there are values for {known}")
            found[name] = float(taken.values[key] if key is not None else taken.value or 0.0)
        elif taken.value is not None:
            found[name] = float(taken.value)
    return found


def free(name: str) -> str:
    """A name for a problem of somebody's own: not one of this package's."""
    from sciml.registry import problems

    return f"{name}_data" if name in problems.names() else name


def every(plan: Plan) -> int:
    """The option of that name: each so many-th frame is kept.

    Raises:
        InputError: below one.
    """
    found = plan.option("every", int, 1)
    if found < 1:
        raise InputError(f"options.every: expected a whole number ≥ 1, got {found}")
    return found


def note(notes: list[str], text: str) -> None:
    """Say something once."""
    if text not in notes:
        notes.append(text)


def same_shape(shapes: Mapping[str, Any], what: str) -> None:
    """Refuse files of one data set that differ.

    Args:
        shapes: file -> what must agree.

    Raises:
        FileFormatError: names two that do not.
    """
    first = next(iter(shapes))
    for name, shape in shapes.items():
        if shape != shapes[first]:
            raise FileFormatError(
                f"{name}: {what} {shape}, but {first} has {shapes[first]}; one data set needs the same, import them "
                "one by one"
            )
