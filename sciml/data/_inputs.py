"""Inputs of cases in a packed data set: one array over `case` where all shapes are equal, else values one case after
another with a row size of their own (see `sciml.data.schema`), so that every case gets back what it was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.data import schema
from sciml.errors import InputError


def of_case(dataset: Any, name: str, i: int) -> tuple[tuple[str, ...], np.ndarray] | None:
    """(dims, values) of an input of case i, or None where that case has none."""
    var = dataset.variables[f"input_{name}"]
    if not schema.is_flat(dataset, name):
        return tuple(str(d) for d in var.dims[1:]), np.asarray(var[i].values)
    count = dataset.variables[f"input_{name}_row_size"].values
    start = int(np.sum(count[:i], dtype=np.int64))
    if not count[i]:
        return None
    dims = tuple(str(var.attrs["dims"]).split())
    values = np.asarray(var[start : start + int(count[i])].values)
    if len(dims) > 1:
        values = values.reshape(tuple(int(n) for n in dataset.variables[f"input_{name}_shape"].values[i]))
    return dims, values


def join(name: str, parts: Sequence[Any]) -> dict[str, Any] | None:
    """The variables of an input of several packed data sets; None where they can be joined along `case` as they are.

    Raises:
        InputError: an input over other axes in one data set than in another.
    """
    key = f"input_{name}"
    dense = all(key in part.variables and not schema.is_flat(part, name) for part in parts)
    if dense and len({part.variables[key].shape[1:] for part in parts}) == 1:
        return None
    arrays: list[np.ndarray | None] = []
    found: dict[tuple[str, ...], Any] = {}
    for part in parts:
        for i in range(part.sizes["case"]):
            got = of_case(part, name, i) if key in part.variables else None
            arrays.append(None if got is None else got[1])
            if got is not None:
                found.setdefault(got[0], part.variables[key].attrs)
    if len(found) > 1:
        raise InputError(f"pack: input {name!r} is over {' and over '.join(str(d) for d in found)}, expected the same")
    dims, attrs = next(iter(found.items()), ((f"input_{name}_axis",), {}))
    given = [a for a in arrays if a is not None]
    if any(a.size == 0 for a in given):
        raise InputError(f"pack: input {name!r} is empty for a case, expected values")
    if len(given) == len(arrays) and len({a.shape for a in given}) == 1:
        return {key: (("case", *dims), np.stack(given), attrs)}
    attrs = dict(attrs) | {"dims": " ".join(dims), "sample_dimension": f"{name}_obs"}
    rows = np.array([0 if a is None else a.size for a in arrays], np.int64)
    data: dict[str, Any] = {
        key: ((f"{name}_obs",), np.concatenate([a.ravel() for a in given]), attrs),
        f"{key}_row_size": (("case",), rows, {"long_name": f"values of {key} in each case"}),
    }
    if len(dims) > 1:
        shapes = np.array([(0,) * len(dims) if a is None else a.shape for a in arrays], np.int64)
        assert all(math.prod(s) == n for s, n in zip(shapes.tolist(), rows.tolist(), strict=True))
        data[f"{key}_shape"] = (("case", f"{name}_axis"), shapes, {"long_name": f"shape of {key} in each case"})
    return data
