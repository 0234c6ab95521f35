"""Results of statistics as a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.errors import InputError

HEAD = ("row", "run", "frames", "rollouts", "left_out", "step")


def labelled(name: str, along: str, entries: Sequence[Mapping[str, Any]]) -> xr.Dataset:
    """Entries over "entry": nested names are joined by "_", parameters become coordinates.

    Args:
        along: the dimension of plain lists; lists within "spectra" and "correlations" are over "wavenumber_x", "lag_x"
            and the like, with "height" before it where they are two deep.

    Raises:
        InputError: no entry, or entries on other grids.
    """
    if not entries:
        raise InputError(f"{name}: expected frames before a data set is made of them, got none")
    tables = [dict(_leaves(e, ())) for e in entries]
    shapes = [{k: v.shape for k, v in t.items()} for t in tables]
    for other in shapes[1:]:
        for path, shape in other.items():
            if shapes[0].get(path, shape) != shape:
                raise InputError(f"{name}: expected entries on one grid, got {' '.join(path)} of other lengths")
    variables: dict[str, Any] = {}
    for path in dict.fromkeys(p for t in tables for p in t):
        shape = next(s[path] for s in shapes if path in s)
        values = np.stack([t.get(path, np.full(shape, np.nan)) for t in tables])
        variables["_".join(path)] = (("entry", *_dims(path, len(shape), along)), values)
    coords: dict[str, Any] = {h: ("entry", [e[h] for e in entries]) for h in HEAD if all(h in e for e in entries)}
    for p in entries[0]["parameters"]:
        coords[p] = ("entry", [float(e["parameters"][p]) for e in entries])
    return xr.Dataset(variables, coords, {"statistic": name})


def _dims(path: tuple[str, ...], count: int, along: str) -> tuple[str, ...]:
    if path[0] in ("spectra", "correlations"):
        last = f"{'wavenumber' if path[0] == 'spectra' else 'lag'}_{path[1]}"
        return ("height",) if path[-2] == "integral_length" else ("height", last)[2 - count :]
    return (along,)[:count]


def _leaves(content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for key, value in content.items():
        if not path and key in (*HEAD, "parameters"):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        elif not path and key == "time":
            yield ("time", "first"), np.array(value[0], dtype=np.float64)
            yield ("time", "last"), np.array(value[1], dtype=np.float64)
        elif isinstance(value, list) and value and not isinstance(value[0], str):
            yield (*path, key), np.array(value, dtype=np.float64)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key), np.array(value, dtype=np.float64)
