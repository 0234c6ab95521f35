"""Measured fields at points of space and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.arrays import clock
from sciml.errors import InputError, suggest
from sciml.problem import Case


def observed(case: Case, given: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Points (N, D + 1), time last, and values (N,) of fields there; what is not finite was not measured.

    Args:
        given: a solution of any solver (or any Dataset of that form); or a mapping with "points", (N, D + 1), of a
            steady problem (N, D), and (N,) values by field.

    Raises:
        InputError: neither, no known field, no points, or shapes that do not fit.
    """
    d, problem = case.problem.dimensions, case.problem
    known = [f.name for f in problem.fields]
    if hasattr(given, "data_vars"):
        points, values = _of_dataset(case, given, known)
    elif isinstance(given, Mapping):
        if "points" not in given:
            raise InputError("observations: expected 'points' and values by field, got " + ", ".join(map(repr, given)))
        points = np.atleast_2d(_numbers("points", given["points"]))
        if problem.steady and points.shape[1] == d:
            points = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
        values = {}
        for name, array in given.items():
            if name == "points":
                continue
            if name not in known:
                raise InputError(f"observations: {problem.name} has no field {name!r}{suggest(name, known)}")
            values[name] = _numbers(name, array)
    else:
        raise InputError(f"observations: expected a solution or a mapping of arrays, got {type(given).__name__}")
    if points.ndim != 2 or points.shape[1] != d + 1 or not np.isfinite(points).all():
        raise InputError(f"observations: points: expected finite (N, {d + 1}), time last, got shape {points.shape}")
    if points[:, -1].min(initial=0.0) < 0:
        raise InputError(f"observations: points: expected times from 0 on, got {points[:, -1].min():g}")
    size = max(b - a for a, b in case.geometry.extents)
    beyond = ~(np.asarray(case.geometry.signed_distance(points[:, :-1])) >= -1e-6 * size)
    if beyond.any():
        place = ", ".join(f"{x:g}" for x in points[np.argmax(beyond), :-1])
        raise InputError(f"observations: points: expected places within the domain, got ({place})")
    if not values or not len(points):
        raise InputError(f"observations: expected values of {' or '.join(known)} at one point or more, got none")
    for name, array in values.items():
        if array.shape != (len(points),):
            raise InputError(f"observations: {name}: expected ({len(points)},) values, got shape {array.shape}")
    some = np.any([np.isfinite(v) for v in values.values()], axis=0)
    if not some.any():
        raise InputError("observations: expected finite values, got none")
    return points[some], {n: v[some] for n, v in values.items()}


def _numbers(name: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"observations: {name}: expected an array of numbers ({error})") from None


def _of_dataset(case: Case, given: Any, known: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    from sciml.support import support_of

    names = [n for n in known if n in given.data_vars]
    if not names:
        raise InputError(f"observations: holds no field of {case.problem.name}: {', '.join(known)}")
    support = support_of(case, given)
    places = support.points().reshape(-1, support.dimensions)
    inside = np.ones(len(places), bool) if support.inside is None else support.inside.ravel()
    frames = "time" in given.dims
    if not case.problem.steady and "time" not in given.variables:
        raise InputError(f"observations: {case.problem.name} changes in time, expected a coordinate 'time'")
    times = np.zeros(1)
    if frames or not case.problem.steady:
        times = np.atleast_1d(clock("observations", given["time"].values, case.problem.time_unit))
    points = np.concatenate([
        np.repeat(places[None], len(times), 0), np.broadcast_to(times[:, None, None], (len(times), len(places), 1))
    ], axis=2)[:, inside]  # fmt: skip
    values = {}
    for n in names:
        array = given[n].transpose(*(["time"] if frames else []), *support.dims).values.reshape(len(times), -1)
        values[n] = array[:, inside].astype(np.float64).ravel()
    return points.reshape(-1, points.shape[-1]), values
